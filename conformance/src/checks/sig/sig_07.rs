//! SIG-07: the configured stop signal is sent in place of SIGTERM.

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-07",
    name: "the_configured_stop_signal_replaces_sigterm",
    level: Level::Must,
    statement: "The stop signal of the image or of the container configuration replaces SIGTERM.",
    source: "Kubernetes concepts/workloads/pods/pod-lifecycle#pod-termination-stop-signals; CRI api.proto ContainerConfig.stop_signal",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod whose container has the stop signal SIGUSR1 is stopped; its program catches all signals and exits at the first.",
    inside: "The program catches SIGUSR1 and nothing else.",
    kernel: "The first signal that is generated for the program is SIGUSR1 (signal_generate).",
    defects: &[("sig-07-always-term", "the configured stop signal is ignored")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Stops,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

const SIGUSR1: u64 = 10;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let manifest = Manifest::of_witnesses("pod", &["a"])
        .with("/spec/os/name", "linux")
        .with("/spec/containers/0/lifecycle/stopSignal", "SIGUSR1");
    let mut pod = cell.start_pod(&manifest)?;
    let [a] = exactly(&mut pod.members)?;
    pods::catch_all(cell, a)?;

    let link = a.witness()?;
    let words = ["stop", "--time", "20", &pod.name];
    let (_call, caught) = cell.call_pod_during(&words, cell.deadline(60.0), |_witnesses| {
        let caught = pods::caught(link, 1, 20_000)?;
        if caught.is_some() {
            link.tell(podproof_witness::Command::Exit { code: 0 })?;
        }
        Ok(caught)
    })?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    pods::told_caught(&mut evidence, "a", caught);
    pods::told_signals(&mut evidence, &trace, a);

    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let caught = side.numbers("caught.a")?;
    Ok(Finding::new(caught == [SIGUSR1], "the program catches SIGUSR1", format!("it caught {caught:?}")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let sent = side.numbers("signals.a")?;
    let holds = sent == [SIGUSR1];
    Ok(Finding::new(holds, "SIGUSR1 and nothing else", format!("the signals were {sent:?}")))
}
