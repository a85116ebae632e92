//! The ordered stop.

use super::*;

const POLICY: RestartPolicy = RestartPolicy::Always;

#[test]
fn main_containers_are_signalled_at_once_and_killed_when_the_grace_period_is_over() {
    let mut pod = Pod::running(&pod(vec![main(POLICY), main(POLICY)]));
    assert_eq!(pod.stop(30), [Action::Signal(1), Action::Signal(0)]);
    pod.pass(10_000);
    assert_eq!(pod.ended(1, 143), [], "no restart");
    assert_eq!(pod.pass(60_000), [(30_000, Action::Kill(0))]);
    assert_eq!(pod.phase(), Phase::Running);
    assert_eq!(pod.ended(0, 137), [Action::Finish]);
    assert_eq!(pod.phase(), Phase::Failed);
    assert_eq!(pod.event(Event::Tick), []);
    assert_eq!(pod.machine.deadline(), None);
}

#[test]
fn a_pod_whose_containers_end_well_when_they_are_stopped_has_succeeded() {
    let mut pod = Pod::running(&pod(vec![main(POLICY)]));
    assert_eq!(pod.event(Event::Stop { grace_period: None }), [Action::Signal(0)]);
    assert_eq!(pod.machine.deadline(), Some(Duration::from_secs(30)));
    assert_eq!(pod.ended(0, 0), [Action::Finish]);
    assert_eq!((pod.phase(), pod.machine.status().reason), (Phase::Succeeded, None));
}

#[test]
fn the_pre_stop_hook_comes_first_and_its_time_counts() {
    let mut pod = Pod::running(&pod(vec![with_pre_stop(main(POLICY)), main(POLICY)]));
    assert_eq!(pod.stop(30), [Action::Run(0, Hook::PreStop), Action::Signal(1)]);
    pod.pass(20_000);
    assert_eq!(pod.hook_ended(0, Hook::PreStop), [Action::Signal(0)]);
    assert_eq!(pod.pass(60_000), [(30_000, Action::Kill(1)), (30_000, Action::Kill(0))]);
}

#[test]
fn a_hook_that_takes_too_long_gives_two_seconds_more() {
    let mut pod = Pod::running(&pod(vec![with_pre_stop(main(POLICY))]));
    assert_eq!(pod.stop(5), [Action::Run(0, Hook::PreStop)]);
    assert_eq!(pod.pass(60_000), [(5_000, Action::Signal(0)), (7_000, Action::Kill(0))]);
    assert_eq!(pod.ended(0, 137), [Action::Abandon(0, Hook::PreStop), Action::Finish]);
}

#[test]
fn a_hook_that_ends_late_leaves_two_seconds() {
    let mut pod = Pod::running(&pod(vec![with_pre_stop(main(POLICY))]));
    pod.stop(5);
    pod.pass(4_500);
    assert_eq!(pod.hook_failed(0, Hook::PreStop), [Action::Signal(0)]);
    assert_eq!(pod.pass(60_000), [(6_500, Action::Kill(0))]);
    pod.ended(0, 137);
    assert_eq!(pod.termination(0).message, "PreStopHookError: exit code 1");
}

#[test]
fn a_grace_period_below_the_minimum_gives_the_minimum() {
    let mut pod = Pod::running(&pod(vec![main(POLICY)]));
    assert_eq!(pod.stop(1), [Action::Signal(0)]);
    assert_eq!(pod.pass(60_000), [(2_000, Action::Kill(0))]);
}

#[test]
fn no_grace_period_kills_at_once_without_hooks() {
    let mut pod = Pod::running(&pod(vec![sidecar(), with_pre_stop(main(POLICY))]));
    assert_eq!(pod.stop(0), [Action::Kill(1), Action::Kill(0)]);
    assert_eq!(pod.stop(0), [], "once is enough");
    assert_eq!(pod.ended(0, 137), []);
    assert_eq!(pod.ended(1, 137), [Action::Finish]);
}

#[test]
fn sidecars_are_signalled_from_the_last_to_the_first_when_the_main_ones_have_ended() {
    let mut pod = Pod::running(&pod(vec![sidecar(), with_pre_stop(sidecar()), main(POLICY), main(POLICY)]));
    let hooks_and_signals = [Action::Run(1, Hook::PreStop), Action::Signal(3), Action::Signal(2)];
    assert_eq!(pod.stop(30), hooks_and_signals, "the hook of a sidecar does not wait for its turn");
    assert_eq!(pod.hook_ended(1, Hook::PreStop), []);
    assert_eq!(pod.ended(2, 0), []);
    assert_eq!(pod.ended(3, 0), [Action::Signal(1)]);
    assert_eq!(pod.ended(1, 143), [Action::Signal(0)]);
    assert_eq!(pod.ended(0, 143), [Action::Finish]);
    assert_eq!(pod.phase(), Phase::Succeeded);
}

#[test]
fn when_the_grace_period_is_over_no_sidecar_waits_for_its_turn() {
    let mut pod = Pod::running(&pod(vec![sidecar(), sidecar(), main(POLICY)]));
    assert_eq!(pod.stop(10), [Action::Signal(2)]);
    let expected = [
        (10_000, Action::Kill(2)),
        (10_000, Action::Signal(1)),
        (10_000, Action::Signal(0)),
        (12_000, Action::Kill(1)),
        (12_000, Action::Kill(0)),
    ];
    assert_eq!(pod.pass(60_000), expected);
}

#[test]
fn a_sidecar_that_ends_while_it_waits_for_its_turn_stays_ended() {
    let mut pod = Pod::running(&pod(vec![sidecar(), main(POLICY)]));
    pod.stop(10);
    assert_eq!(pod.ended(0, 0), []);
    assert_eq!(pod.ended(1, 0), [Action::Finish]);
}

#[test]
fn a_running_init_container_is_stopped_before_the_sidecars() {
    let mut pod = Pod::new(&pod(vec![sidecar(), init(RestartPolicy::OnFailure), main(POLICY)]));
    pod.event(Event::Begin);
    pod.started(0);
    pod.started(1);
    assert_eq!(pod.stop(10), [Action::Signal(1)]);
    assert_eq!(pod.ended(1, 0), [Action::Signal(0)], "and the next is not started");
    assert_eq!(pod.ended(0, 0), [Action::Finish]);
    assert_eq!(pod.phase(), Phase::Failed, "the main container never ran");
}

#[test]
fn the_end_of_the_main_containers_stops_the_sidecars_within_the_pods_grace_period() {
    let mut pod = Pod::running(&pod(vec![with_pre_stop(sidecar()), sidecar(), main(RestartPolicy::Never)]));
    assert_eq!(pod.ended(2, 0), [Action::Run(0, Hook::PreStop), Action::Signal(1)]);
    assert_eq!(pod.ended(1, 0), []);
    assert_eq!(pod.pass(60_000), [(30_000, Action::Signal(0)), (32_000, Action::Kill(0))]);
}

#[test]
fn a_second_stop_shortens_and_never_lengthens() {
    let mut pod = Pod::running(&pod(vec![with_pre_stop(main(POLICY))]));
    pod.stop(30);
    assert_eq!(pod.stop(100), []);
    assert_eq!(pod.machine.deadline(), Some(Duration::from_secs(30)));
    pod.pass(10_000);
    assert_eq!(pod.stop(5), []);
    assert_eq!(pod.machine.deadline(), Some(Duration::from_secs(15)));
    pod.pass(1_000);
    assert_eq!(pod.stop(0), [Action::Kill(0)]);
    assert_eq!(pod.machine.deadline(), None);
    assert_eq!(pod.ended(0, 137), [Action::Abandon(0, Hook::PreStop), Action::Finish]);
}

#[test]
fn a_container_that_waits_ends_without_a_start() {
    let mut pod = Pod::running(&pod(vec![main(POLICY)]));
    pod.ended(0, 3);
    pod.started(0);
    assert_eq!(pod.ended(0, 4), []);
    assert_eq!(pod.stop(30), [Action::Finish]);
    assert_eq!(pod.termination(0).exit_code, Some(4));
    assert_eq!(pod.container(0).last_termination.unwrap().exit_code, Some(3));
    assert_eq!(pod.phase(), Phase::Failed);
}

#[test]
fn a_container_that_is_being_started_is_stopped_when_it_runs() {
    let mut pod = Pod::new(&pod(vec![with_post_start(with_pre_stop(main(POLICY))), main(POLICY)]));
    pod.event(Event::Begin);
    assert_eq!(pod.stop(10), []);
    pod.pass(1_000);
    assert_eq!(pod.started(0), [Action::Run(0, Hook::PreStop)], "nobody needs its postStart hook");
    assert_eq!(pod.pass(60_000), [(10_000, Action::Signal(0)), (12_000, Action::Kill(0))]);

    let mut late = Pod::new(&super::pod(vec![with_pre_stop(main(POLICY))]));
    late.event(Event::Begin);
    late.stop(1);
    late.pass(5_000);
    assert_eq!(late.started(0), [Action::Signal(0)]);
    assert_eq!(late.pass(60_000), [(7_000, Action::Kill(0))]);

    let mut now = Pod::new(&super::pod(vec![main(POLICY)]));
    now.event(Event::Begin);
    assert_eq!(now.stop(0), []);
    assert_eq!(now.started(0), [Action::Kill(0)]);

    let mut failed = Pod::new(&super::pod(vec![main(POLICY)]));
    failed.event(Event::Begin);
    failed.stop(10);
    assert_eq!(failed.not_started(0, "CreateContainerError"), [Action::Finish]);
    assert_eq!(failed.waiting(0).0, "CreateContainerError");
}

#[test]
fn a_stop_gives_up_a_post_start_hook() {
    let mut pod = Pod::new(&pod(vec![with_post_start(main(POLICY))]));
    pod.event(Event::Begin);
    pod.started(0);
    assert_eq!(pod.stop(10), [Action::Abandon(0, Hook::PostStart), Action::Signal(0)]);
    assert_eq!(pod.ended(0, 143), [Action::Finish]);
}

#[test]
fn a_stop_of_the_pod_hurries_the_stop_of_a_container() {
    let mut pod = Pod::new(&pod(vec![with_post_start(main(POLICY))]));
    pod.event(Event::Begin);
    pod.started(0);
    assert_eq!(pod.hook_failed(0, Hook::PostStart), [Action::Signal(0)]);
    assert_eq!(pod.stop(5), []);
    assert_eq!(pod.pass(60_000), [(5_000, Action::Kill(0))]);
    assert_eq!(pod.ended(0, 137), [Action::Finish], "no restart");
}

#[test]
fn a_stop_before_the_sandbox_is_there_finishes() {
    let mut pod = Pod::new(&pod(vec![main(POLICY)]));
    assert_eq!(pod.stop(30), [Action::Finish]);
    assert_eq!(pod.event(Event::Begin), []);
    assert_eq!(pod.phase(), Phase::Failed);
}

#[test]
fn the_active_deadline_stops_with_the_grace_period_and_fails_the_pod() {
    let mut spec = pod(vec![main(POLICY)]);
    spec.active_deadline = Some(Duration::from_secs(60));
    let mut pod = Pod::running(&spec);
    assert_eq!(pod.pass(100_000), [(60_000, Action::Signal(0)), (90_000, Action::Kill(0))]);
    assert_eq!((pod.phase(), pod.machine.status().reason), (Phase::Running, None), "a container runs");
    assert_eq!(pod.ended(0, 0), [Action::Finish]);
    let status = pod.machine.status();
    assert_eq!((status.phase, status.reason.as_deref()), (Phase::Failed, Some("DeadlineExceeded")));
    let message = "Pod was active on the node longer than the specified deadline";
    assert_eq!(status.message.as_deref(), Some(message));
}

#[test]
fn the_active_deadline_does_not_count_in_a_stop() {
    let mut spec = pod(vec![main(POLICY)]);
    spec.active_deadline = Some(Duration::from_secs(60));
    let mut pod = Pod::running(&spec);
    pod.pass(50_000);
    pod.stop(30);
    assert_eq!(pod.pass(100_000), [(80_000, Action::Kill(0))]);
    pod.ended(0, 0);
    assert_eq!(pod.phase(), Phase::Succeeded);
}

#[test]
fn the_end_of_the_sandbox_kills_everything() {
    let mut pod = Pod::running(&pod(vec![with_pre_stop(sidecar()), main(POLICY)]));
    assert_eq!(pod.event(Event::SandboxEnded), [Action::Kill(1), Action::Kill(0)]);
    assert_eq!(pod.ended(0, 137), []);
    assert_eq!(pod.ended(1, 0), [Action::Finish]);
    let status = pod.machine.status();
    assert_eq!((status.phase, status.reason.as_deref()), (Phase::Failed, Some("SandboxEnded")));
}

#[test]
fn an_eviction_gives_a_second_and_the_minimum() {
    let message = "emptyDir cache is larger than 1Mi".to_owned();
    let evict = Event::Evict { message: message.clone() };
    let mut pod = Pod::running(&pod(vec![with_pre_stop(sidecar()), main(POLICY)]));
    assert_eq!(pod.event(evict.clone()), [Action::Run(0, Hook::PreStop), Action::Signal(1)]);
    let expected = [(1_000, Action::Signal(0)), (2_000, Action::Kill(1)), (3_000, Action::Kill(0))];
    assert_eq!(pod.pass(60_000), expected);
    assert_eq!(pod.ended(1, 0), []);
    assert_eq!(pod.ended(0, 137), [Action::Abandon(0, Hook::PreStop), Action::Finish]);
    let status = pod.machine.status();
    assert_eq!((status.phase, status.reason.as_deref()), (Phase::Failed, Some("Evicted")));
    assert_eq!(status.message, Some(message));

    let mut hasty = super::pod(vec![with_pre_stop(main(POLICY))]);
    hasty.grace_period = Duration::ZERO;
    assert_eq!(Pod::running(&hasty).event(evict), [Action::Kill(0)], "never longer than its own");
}

#[test]
fn the_first_cause_of_a_stop_stays() {
    let mut pod = Pod::running(&pod(vec![main(POLICY)]));
    pod.stop(30);
    assert_eq!(pod.event(Event::SandboxEnded), [Action::Kill(0)]);
    pod.ended(0, 0);
    assert_eq!((pod.phase(), pod.machine.status().reason), (Phase::Succeeded, None));
}
