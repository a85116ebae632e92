//! Restart policies, rules and the back-off.

use super::*;
use crate::spec::RestartRule;

/// The times, in seconds, at which a container that ends `lives` times at once is started again.
fn restarts(settings: Settings, lives: usize) -> Vec<u64> {
    let mut pod = Pod::with(&pod(vec![main(RestartPolicy::Always)]), settings);
    let mut starts = Vec::new();
    let mut actions = pod.event(Event::Begin);
    for _ in 0..lives {
        assert_eq!(actions, [Action::Start(0)]);
        pod.started(0);
        actions = pod.ended(0, 1);
        if actions.is_empty() {
            let deadline = pod.machine.deadline().unwrap() - Duration::from_millis(pod.now_ms);
            let due = pod.pass(u64::try_from(deadline.as_millis()).unwrap());
            actions = due.into_iter().map(|(_, action)| action).collect();
        }
        starts.push(pod.now_ms / 1000);
    }
    starts
}

#[test]
fn the_first_restart_comes_at_once_and_then_the_wait_doubles_up_to_the_maximum() {
    let times = restarts(KUBELET, 9);
    let waits: Vec<u64> =
        std::iter::once(times[0]).chain(times.windows(2).map(|pair| pair[1] - pair[0])).collect();
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300, 300]);
}

#[test]
fn without_a_base_every_restart_comes_with_the_event_of_the_end() {
    assert_eq!(restarts(Settings { backoff_base: Duration::ZERO, ..KUBELET }, 5), [0; 5]);
}

#[test]
fn a_base_above_the_maximum_waits_the_maximum() {
    let settings =
        Settings { backoff_base: Duration::from_secs(60), backoff_max: Duration::from_secs(5), ..KUBELET };
    assert_eq!(restarts(settings, 4), [0, 5, 10, 15]);
}

#[test]
fn the_wait_counts_from_the_end_and_the_status_tells_it() {
    let mut pod = Pod::running(&pod(vec![main(RestartPolicy::Always)]));
    pod.pass(5_000);
    assert_eq!(pod.ended(0, 3), [Action::Start(0)]);
    assert_eq!(pod.waiting(0).0, "ContainerCreating");
    pod.started(0);
    pod.pass(2_000);
    assert_eq!(pod.ended(0, 4), []);
    assert_eq!(pod.machine.deadline(), Some(Duration::from_secs(17)));
    let message = "back-off 10s restarting failed container=main pod=web_default";
    assert_eq!(pod.waiting(0), ("CrashLoopBackOff".into(), message.into()));
    let last = pod.container(0).last_termination.unwrap();
    assert_eq!((last.exit_code, last.reason.as_str()), (Some(4), "Error"));
    assert_eq!(last.started_at, Some(wall(Duration::from_secs(5))));
    assert_eq!(last.finished_at, wall(Duration::from_secs(7)));
    assert_eq!(pod.container(0).restart_count, 1);
    assert_eq!(pod.phase(), Phase::Running);
    assert_eq!(pod.pass(60_000), [(17_000, Action::Start(0))]);
    assert_eq!(pod.container(0).restart_count, 2);
}

#[test]
fn a_container_that_ran_long_enough_begins_again_with_a_restart_at_once() {
    let mut pod = Pod::running(&pod(vec![main(RestartPolicy::Always)]));
    assert_eq!(pod.ended(0, 1), [Action::Start(0)]);
    pod.started(0);
    pod.pass(600_000);
    assert_eq!(pod.ended(0, 1), [], "ten minutes are not longer than ten minutes");
    assert_eq!(pod.pass(10_000), [(610_000, Action::Start(0))]);
    pod.started(0);
    pod.pass(600_001);
    assert_eq!(pod.ended(0, 1), [Action::Start(0)]);
    pod.started(0);
    assert_eq!(pod.ended(0, 1), []);
    assert!(pod.waiting(0).1.starts_with("back-off 10s "));
}

#[test]
fn policies_decide_by_the_exit_code() {
    for (policy, code, is_restarted) in [
        (RestartPolicy::Always, 0, true),
        (RestartPolicy::Always, 1, true),
        (RestartPolicy::OnFailure, 0, false),
        (RestartPolicy::OnFailure, 1, true),
        (RestartPolicy::Never, 0, false),
        (RestartPolicy::Never, 1, false),
    ] {
        let mut pod = Pod::running(&pod(vec![main(policy)]));
        let expected = if is_restarted { Action::Start(0) } else { Action::Finish };
        assert_eq!(pod.ended(0, code), [expected], "{policy:?} {code}");
        let phase = match code {
            _ if is_restarted => Phase::Running,
            0 => Phase::Succeeded,
            _ => Phase::Failed,
        };
        assert_eq!(pod.phase(), phase, "{policy:?} {code}");
    }
}

#[test]
fn rules_decide_before_the_policy() {
    for (is_in, codes, code, is_restarted) in [
        (true, vec![42], 42, true),
        (true, vec![42], 1, false),
        (true, vec![0], 0, true),
        (false, vec![1, 2], 3, true),
        (false, vec![1, 2], 2, false),
    ] {
        let mut spec = main(RestartPolicy::Never);
        spec.restart_rules =
            vec![RestartRule { is_in: true, codes: vec![99] }, RestartRule { is_in, codes: codes.clone() }];
        let mut pod = Pod::running(&pod(vec![spec]));
        let expected = if is_restarted { Action::Start(0) } else { Action::Finish };
        assert_eq!(pod.ended(0, code), [expected], "{is_in} {codes:?} {code}");
    }
}

#[test]
fn a_rule_does_not_repeat_an_init_container_that_is_done() {
    let mut spec = init(RestartPolicy::Never);
    spec.restart_rules = vec![RestartRule { is_in: true, codes: vec![0, 7] }];
    let mut pod = Pod::new(&pod(vec![spec, main(RestartPolicy::Always)]));
    pod.event(Event::Begin);
    pod.started(0);
    assert_eq!(pod.ended(0, 7), [Action::Start(0)]);
    pod.started(0);
    assert_eq!(pod.ended(0, 0), [Action::Start(1)]);
}

#[test]
fn a_container_that_cannot_be_run_has_ended_with_128_and_the_policy_decides() {
    let mut never = Pod::new(&pod(vec![main(RestartPolicy::Never)]));
    never.event(Event::Begin);
    assert_eq!(never.not_started(0, "RunContainerError"), [Action::Finish]);
    let termination = never.termination(0);
    assert_eq!((termination.exit_code, termination.reason.as_str()), (Some(128), "StartError"));
    assert_eq!((termination.message.as_str(), termination.started_at), ("why", None));
    assert_eq!(never.phase(), Phase::Failed);

    let mut always = Pod::new(&pod(vec![main(RestartPolicy::Always)]));
    always.event(Event::Begin);
    assert_eq!(always.not_started(0, "RunContainerError"), [], "not at once: the supervisor must get a turn");
    assert_eq!(always.waiting(0), ("RunContainerError".into(), "why".into()));
    assert_eq!(always.phase(), Phase::Running);
    assert_eq!(always.pass(1_000), [(1_000, Action::Start(0))]);
    assert_eq!(always.container(0).restart_count, 1);
    always.not_started(0, "RunContainerError");
    assert_eq!(always.waiting(0).0, "CrashLoopBackOff");
    assert_eq!(always.container(0).last_termination.unwrap().reason, "StartError");
    assert_eq!(always.pass(10_000), [(11_000, Action::Start(0))]);
    always.started(0);
    assert!(always.container(0).is_ready);
}

#[test]
fn a_container_that_cannot_be_created_is_tried_again_whatever_the_policy() {
    let mut pod = Pod::new(&pod(vec![main(RestartPolicy::Never)]));
    pod.event(Event::Begin);
    for attempt in 1..=3 {
        assert_eq!(pod.not_started(0, "CreateContainerError"), []);
        assert_eq!(pod.waiting(0), ("CreateContainerError".into(), "why".into()));
        assert_eq!(pod.phase(), Phase::Pending);
        assert_eq!(pod.pass(10_000), [(attempt * 10_000, Action::Start(0))]);
        assert_eq!(pod.container(0).restart_count, 0);
    }
    pod.started(0);
    assert_eq!(pod.phase(), Phase::Running);
}

#[test]
fn without_a_base_a_failed_start_waits_for_a_second() {
    for reason in ["CreateContainerError", "RunContainerError"] {
        let settings = Settings { backoff_base: Duration::ZERO, ..KUBELET };
        let mut pod = Pod::with(&pod(vec![main(RestartPolicy::Always)]), settings);
        pod.event(Event::Begin);
        for attempt in 1..=3 {
            assert_eq!(pod.not_started(0, reason), []);
            assert_eq!(pod.pass(1_000), [(attempt * 1_000, Action::Start(0))]);
        }
    }
}

#[test]
fn each_container_has_a_back_off_of_its_own() {
    let mut pod = Pod::running(&pod(vec![main(RestartPolicy::Always), main(RestartPolicy::Always)]));
    pod.ended(0, 1);
    pod.started(0);
    assert_eq!(pod.ended(0, 1), []);
    assert_eq!(pod.ended(1, 1), [Action::Start(1)]);
}
