//! SIG-04: the stop signal is sent once, to the main process only.

use podproof_ebpf::event::EventKind;

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-04",
    name: "the_stop_signal_comes_once_to_the_main_process",
    level: Level::Must,
    statement: "Stop first sends the stop signal once, to the main process only.",
    source: "Kubernetes concepts/workloads/pods/pod-lifecycle#pod-termination-flow",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod whose program catches SIGTERM and has two children is stopped. It goes on for a moment before it exits.",
    inside: "The program catches SIGTERM once within that moment.",
    kernel: "SIGTERM is generated once for the program and not for its children (signal_generate).",
    defects: &[("sig-04-whole-group", "every process of the container is sent the stop signal")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Stops,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// How long the program listens for a second signal.
const MOMENT_MS: u64 = 800;
const SIGTERM: u32 = 15;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut pod = cell.start_pod(&Manifest::of_witnesses("pod", &["a"]))?;
    let [a] = exactly(&mut pod.members)?;
    pods::catch_all(cell, a)?;
    let sleepers = podproof_witness::Command::ForkSleepers { count: 2, sessions: false };
    a.witness()?.ask(sleepers, cell.deadline(5.0))?;
    let link = a.witness()?;
    let words = ["stop", "--time", "20", &pod.name];
    let (_call, caught) = cell.call_pod_during(&words, cell.deadline(60.0), |_witnesses| {
        let caught = pods::caught(link, 2, MOMENT_MS)?;
        if caught.is_some() {
            link.tell(podproof_witness::Command::Exit { code: 0 })?;
        }
        Ok(caught)
    })?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    pods::told_caught(&mut evidence, "a", caught);
    pods::told_signals(&mut evidence, &trace, a);
    let pid = a.outer_pid();
    let children: Vec<u32> = trace
        .births()
        .filter(|birth| crate::observe::trace::is(birth.child.parent, pid))
        .map(|birth| birth.child.task.tgid)
        .collect();
    let to_children = trace.events.iter().filter(|event| match &event.kind {
        EventKind::SignalGenerate { signal: SIGTERM, target, .. } => children.contains(&target.tgid),
        _ => false,
    });
    evidence.kernel("to_children", to_children.count(), "tp_btf/signal_generate of SIGTERM for its children");
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let caught = side.numbers("caught.a")?;
    let holds = caught == [u64::from(SIGTERM)];
    Ok(Finding::new(holds, "the program catches SIGTERM once", format!("it caught {caught:?}")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (sent, to_children) = (side.numbers("signals.a")?, side.number("to_children")?);
    let n_terms = sent.iter().filter(|signal| **signal == u64::from(SIGTERM)).count();
    Ok(Finding::new(
        n_terms == 1 && to_children == 0,
        "one SIGTERM to the program and none to its children",
        format!("the signals to it were {sent:?}; {to_children} SIGTERM went to its children"),
    ))
}
