//! NS-38: a debug container sees the processes of the container that it targets.

use podproof_ebpf::event::NsKind;
use podproof_witness::WITNESS_PATH;

use super::{matrix, unsupported};
use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "NS-38",
    name: "a_debug_container_joins_its_targets_pids",
    level: Level::Must,
    statement: "A debug container in TARGET mode joins the PID namespace of the named container only.",
    source: "CRI api.proto NamespaceMode TARGET; Kubernetes concepts/workloads/pods/ephemeral-containers",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with the containers a and b, which do not share their PIDs, and with an ephemeral container whose \
               targetContainerName is a. Skipped where the pod layer refuses ephemeralContainers.",
    inside: "The ephemeral container's witness reads the same /proc/self/ns/pid as a's; b's, the sandbox's and the node's are \
             others.",
    kernel: "The same for the PID namespaces that the programs were executed in (sched_process_exec).",
    defects: &[(
        "ns-38-pids-of-the-sandbox",
        "a debug container joins the PID namespace of the sandbox, whatever it targets",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside: rule, kernel: rule },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let manifest = Manifest::of_witnesses("pod", &["a", "b"]).debugger("debug", "a");
    unsupported::run(cell, &manifest, "ephemeralContainers")?;
    let pod = cell.pod_name("pod");
    let mut containers = vec![cell.sandbox_of(&pod)?, cell.member(&pod, "a")?, cell.member(&pod, "b")?];
    containers.push(debugger(cell)?);
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    matrix::node(&mut evidence, &[NsKind::Pid]);
    if let Some(sandbox) = containers.first() {
        facts::node_ns(&mut evidence, &sandbox.name, sandbox.pid, NsKind::Pid.proc_name());
    }
    for container in &containers {
        matrix::container(&mut evidence, &trace, container, &[NsKind::Pid]);
    }
    matrix::keep_trace(&mut evidence, &trace);
    Ok(evidence)
}

/// The debug container: its witness, wherever the pod layer shows it.
fn debugger(cell: &mut Cell<'_>) -> Result<Container, Obstacle> {
    let link = cell.hello("debug", cell.deadline(20.0));
    let link = link.ok_or_else(|| Obstacle::Runtime("the debug container did not call".to_owned()))?;
    Ok(Container {
        id: "debug".to_owned(),
        name: "debug".to_owned(),
        pid: link.outer_pid,
        link: Some(link),
        cgroup: String::new(),
        program: WITNESS_PATH.to_owned(),
    })
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let joined = matrix::shared(side, NsKind::Pid, &["a", "debug"])?;
    let others = ["pid.debug", "pid.b", "pid.pause", "pid.node"];
    Ok(joined.and(facts::all_differ(side, "PID namespace", &others)?))
}
