//! States, reasons and times.

use super::*;

#[test]
fn exit_reasons_are_those_of_the_runtime() {
    for (code, signal, is_oom, reason) in [
        (0, None, false, "Completed"),
        (1, None, false, "Error"),
        (143, Some(15), false, "Error"),
        (137, Some(9), true, "OOMKilled"),
        (0, None, true, "OOMKilled"),
    ] {
        let mut pod = Pod::running(&pod(vec![main(RestartPolicy::Never)]));
        pod.pass(1_500);
        let exit = Exit { code, signal, is_oom, message: "last words".into() };
        pod.event(Event::Ended(0, exit));
        let expected = Termination {
            exit_code: Some(code),
            signal,
            reason: reason.into(),
            message: "last words".into(),
            started_at: Some(wall(Duration::ZERO)),
            finished_at: wall(Duration::from_millis(1_500)),
        };
        assert_eq!(pod.termination(0), expected);
        assert_eq!(pod.container(0).last_termination, None);
    }
}

#[test]
fn a_running_container_tells_since_when_and_how_it_ended_before() {
    let mut pod = Pod::running(&pod(vec![main(RestartPolicy::Always)]));
    let first = pod.container(0);
    assert_eq!(first.state, ContainerState::Running { started_at: wall(Duration::ZERO) });
    assert_eq!((first.last_termination, first.restart_count, first.is_ready), (None, 0, true));
    pod.pass(3_000);
    pod.ended(0, 2);
    assert!(!pod.container(0).is_ready);
    pod.started(0);
    let second = pod.container(0);
    assert_eq!(second.state, ContainerState::Running { started_at: wall(Duration::from_secs(3)) });
    assert_eq!((second.restart_count, second.is_ready), (1, true));
    assert_eq!(second.last_termination.unwrap().exit_code, Some(2));
}

#[test]
fn a_failed_start_of_a_restart_keeps_the_end_before_it() {
    let mut pod = Pod::running(&pod(vec![main(RestartPolicy::Always)]));
    pod.ended(0, 2);
    pod.not_started(0, "CreateContainerError");
    assert_eq!(pod.waiting(0), ("CreateContainerError".into(), "why".into()));
    assert_eq!(pod.container(0).last_termination.unwrap().exit_code, Some(2));
    assert_eq!(pod.container(0).restart_count, 1);
    assert_eq!(pod.phase(), Phase::Running);
    assert_eq!(pod.pass(10_000), [(10_000, Action::Start(0))]);
    assert_eq!(pod.container(0).restart_count, 1, "the same restart");
}

#[test]
fn a_pod_fails_when_one_main_container_failed() {
    let mut pod = Pod::running(&pod(vec![main(RestartPolicy::Never), main(RestartPolicy::Never)]));
    assert_eq!(pod.ended(0, 1), []);
    assert_eq!(pod.phase(), Phase::Running);
    assert_eq!(pod.ended(1, 0), [Action::Finish]);
    assert_eq!(pod.phase(), Phase::Failed);
}

#[test]
fn names_are_those_of_the_specification() {
    let pod = Pod::new(&pod(vec![init(RestartPolicy::Never), sidecar(), main(RestartPolicy::Never)]));
    let names: Vec<String> =
        pod.machine.status().containers.into_iter().map(|container| container.name).collect();
    assert_eq!(names, ["init", "sidecar", "main"]);
    assert!((0..3).all(|index| pod.waiting(index).0 == "PodInitializing"));
}
