//! The order of the starts.

use super::*;

#[test]
fn init_containers_run_one_after_the_other_and_then_the_main_ones() {
    let policy = RestartPolicy::OnFailure;
    let mut pod = Pod::new(&pod(vec![init(policy), init(policy), main(policy), main(policy)]));
    assert_eq!(pod.phase(), Phase::Pending);
    assert_eq!(pod.event(Event::Begin), [Action::Start(0)]);
    assert_eq!(pod.started(0), []);
    assert_eq!(pod.ended(0, 0), [Action::Start(1)]);
    assert_eq!(pod.termination(0).reason, "Completed");
    assert_eq!(pod.waiting(2).0, "PodInitializing");
    assert_eq!(pod.started(1), []);
    assert_eq!(pod.ended(1, 0), [Action::Start(2)]);
    assert_eq!(pod.started(2), [Action::Start(3)]);
    assert_eq!(pod.phase(), Phase::Pending, "a main container was never started");
    assert_eq!(pod.started(3), []);
    assert_eq!(pod.phase(), Phase::Running);
    assert_eq!(pod.ended(2, 0), []);
    assert_eq!(pod.ended(3, 0), [Action::Finish]);
    assert_eq!(pod.phase(), Phase::Succeeded);
    assert!(pod.machine.is_finished());
}

#[test]
fn a_failed_init_container_is_started_again_with_back_off() {
    let mut pod = Pod::new(&pod(vec![init(RestartPolicy::OnFailure), main(RestartPolicy::Always)]));
    pod.event(Event::Begin);
    pod.started(0);
    assert_eq!(pod.ended(0, 1), [Action::Start(0)]);
    pod.started(0);
    assert_eq!(pod.ended(0, 1), []);
    assert_eq!(pod.waiting(0).0, "CrashLoopBackOff");
    assert_eq!(pod.phase(), Phase::Pending);
    assert_eq!(pod.pass(10_000), [(10_000, Action::Start(0))]);
    pod.started(0);
    assert_eq!(pod.ended(0, 0), [Action::Start(1)]);
}

#[test]
fn an_init_container_that_is_never_restarted_fails_the_pod() {
    let mut pod = Pod::new(&pod(vec![sidecar(), init(RestartPolicy::Never), main(RestartPolicy::Never)]));
    pod.event(Event::Begin);
    assert_eq!(pod.started(0), [Action::Start(1)]);
    pod.started(1);
    assert_eq!(pod.ended(1, 5), [Action::Signal(0)]);
    assert_eq!(pod.phase(), Phase::Pending, "a container runs");
    assert_eq!(pod.ended(0, 0), [Action::Finish]);
    assert_eq!(pod.phase(), Phase::Failed);
    assert_eq!(pod.machine.status().reason, None);
    assert_eq!(pod.termination(1).exit_code, Some(5));
    assert_eq!(pod.waiting(2).0, "PodInitializing");
}

#[test]
fn the_next_begins_when_a_sidecar_runs_and_its_hook_has_ended() {
    let mut pod = Pod::new(&pod(vec![
        with_post_start(sidecar()),
        init(RestartPolicy::Never),
        main(RestartPolicy::Never),
    ]));
    assert_eq!(pod.event(Event::Begin), [Action::Start(0)]);
    assert_eq!(pod.started(0), [Action::Run(0, Hook::PostStart)]);
    assert!(!pod.container(0).is_ready);
    assert_eq!(pod.pass(100_000), []);
    assert_eq!(pod.hook_ended(0, Hook::PostStart), [Action::Start(1)]);
    assert!(pod.container(0).is_ready);
}

#[test]
fn the_next_waits_for_a_sidecar_that_ends_before_its_hook() {
    let mut pod = Pod::new(&pod(vec![with_post_start(sidecar()), main(RestartPolicy::Never)]));
    pod.event(Event::Begin);
    pod.started(0);
    assert_eq!(pod.ended(0, 0), [Action::Abandon(0, Hook::PostStart), Action::Start(0)]);
    assert_eq!(pod.started(0), [Action::Run(0, Hook::PostStart)]);
    assert_eq!(pod.hook_ended(0, Hook::PostStart), [Action::Start(1)]);
}

#[test]
fn a_sidecar_is_restarted_in_the_init_phase_and_later() {
    let mut pod = Pod::new(&pod(vec![sidecar(), init(RestartPolicy::Never), main(RestartPolicy::Never)]));
    pod.event(Event::Begin);
    pod.started(0);
    pod.started(1);
    assert_eq!(pod.ended(0, 0), [Action::Start(0)], "whatever its code");
    assert_eq!(pod.ended(1, 0), [Action::Start(2)], "which does not wait for the restart");
    pod.started(0);
    pod.started(2);
    assert_eq!(pod.ended(0, 1), []);
    assert_eq!(pod.phase(), Phase::Running);
    assert_eq!(pod.pass(10_000), [(10_000, Action::Start(0))]);
    pod.started(0);
    assert_eq!(pod.ended(2, 0), [Action::Signal(0)], "it does not keep the pod");
    assert_eq!(pod.phase(), Phase::Running);
    assert_eq!(pod.ended(0, 137), [Action::Finish]);
    assert_eq!(pod.phase(), Phase::Succeeded, "its code does not count");
}

#[test]
fn a_main_container_waits_for_the_hook_of_the_one_before() {
    let mut pod =
        Pod::new(&pod(vec![with_post_start(main(RestartPolicy::Never)), main(RestartPolicy::Never)]));
    assert_eq!(pod.event(Event::Begin), [Action::Start(0)]);
    assert_eq!(pod.waiting(1).0, "ContainerCreating");
    assert_eq!(pod.started(0), [Action::Run(0, Hook::PostStart)]);
    assert_eq!(pod.hook_ended(0, Hook::PostStart), [Action::Start(1)]);
}

#[test]
fn a_main_container_does_not_wait_for_one_whose_start_came_to_nothing() {
    let two = |policy| pod(vec![with_post_start(main(policy)), main(policy)]);
    for reason in ["CreateContainerError", "RunContainerError"] {
        let mut pod = Pod::new(&two(RestartPolicy::Always));
        pod.event(Event::Begin);
        assert_eq!(pod.not_started(0, reason), [Action::Start(1)]);
    }
    let mut ended = Pod::new(&two(RestartPolicy::Never));
    ended.event(Event::Begin);
    ended.started(0);
    assert_eq!(ended.ended(0, 0), [Action::Abandon(0, Hook::PostStart), Action::Start(1)]);
    assert_eq!(ended.phase(), Phase::Pending);
}

#[test]
fn a_restart_does_not_wait_for_a_hook_of_another() {
    let policy = RestartPolicy::Always;
    let mut pod = Pod::new(&pod(vec![main(policy), with_post_start(main(policy)), main(policy)]));
    pod.event(Event::Begin);
    assert_eq!(pod.started(0), [Action::Start(1)]);
    assert_eq!(pod.started(1), [Action::Run(1, Hook::PostStart)]);
    assert_eq!(pod.ended(0, 1), [Action::Start(0)]);
}

#[test]
fn a_failed_post_start_hook_stops_the_container_and_the_policy_decides() {
    let spec = with_pre_stop(with_post_start(main(RestartPolicy::OnFailure)));
    let mut pod = Pod::new(&pod(vec![spec, main(RestartPolicy::Always)]));
    pod.event(Event::Begin);
    pod.started(0);
    assert_eq!(pod.hook_failed(0, Hook::PostStart), [Action::Run(0, Hook::PreStop)]);
    assert!(!pod.container(0).is_ready);
    assert_eq!(pod.hook_ended(0, Hook::PreStop), [Action::Signal(0)]);
    assert_eq!(pod.pass(60_000), [(30_000, Action::Kill(0))]);
    let exit = Exit { code: 137, signal: Some(9), is_oom: false, message: "bye".into() };
    assert_eq!(pod.event(Event::Ended(0, exit)), [Action::Start(0), Action::Start(1)]);
    let last = pod.container(0).last_termination.unwrap();
    assert_eq!(last.message, "PostStartHookError: exit code 1\nbye");
    assert_eq!((last.reason.as_str(), last.signal), ("Error", Some(9)));
}

#[test]
fn nothing_happens_before_the_sandbox_is_there() {
    let mut pod = Pod::new(&pod(vec![main(RestartPolicy::Always)]));
    assert_eq!(pod.pass(1_000_000), []);
    assert_eq!(pod.event(Event::Begin), [Action::Start(0)]);
}

#[test]
fn events_that_cannot_be_change_nothing() {
    let mut pod = Pod::running(&pod(vec![main(RestartPolicy::Never), main(RestartPolicy::Never)]));
    pod.ended(1, 0);
    let before = pod.machine.status();
    for event in [
        Event::Begin,
        Event::Started(0),
        Event::Started(1),
        Event::Started(7),
        Event::Ended(1, exit(1)),
        Event::Ended(7, exit(1)),
        Event::NotStarted { container: 0, reason: "RunContainerError".into(), message: "no".into() },
        Event::HookEnded { container: 0, hook: Hook::PostStart, failure: Some("no".into()) },
        Event::HookEnded { container: 7, hook: Hook::PreStop, failure: None },
    ] {
        assert_eq!(pod.event(event), []);
        assert_eq!(pod.machine.status(), before);
    }
}

#[test]
fn an_end_may_overtake_the_answer_to_the_start() {
    let mut pod = Pod::new(&pod(vec![main(RestartPolicy::Never)]));
    pod.event(Event::Begin);
    assert_eq!(pod.ended(0, 0), [Action::Finish]);
    assert_eq!(pod.termination(0).started_at, None);
    assert_eq!(pod.started(0), []);
    assert_eq!(pod.phase(), Phase::Succeeded);
}
