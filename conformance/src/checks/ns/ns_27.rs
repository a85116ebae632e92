//! NS-27: two pods have nothing in common.

use podproof_ebpf::event::NsKind;

use super::matrix;
use crate::adapter::podrt::Manifest;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, Pod};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

/// What each pod has for itself.
const KINDS: [NsKind; 6] = [NsKind::Net, NsKind::Ipc, NsKind::Uts, NsKind::Pid, NsKind::Mnt, NsKind::Cgroup];
/// The containers of each pod.
const PODS: [[&str; 3]; 2] = [["pause", "a", "b"], ["other", "c", "d"]];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-27",
    name: "two_pods_share_no_namespace",
    level: Level::Must,
    statement: "Two pods share no net, IPC, UTS, PID, mount or private cgroup namespace.",
    source: "Kubernetes concepts/workloads/pods#pod-networking",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "Two pods that live at the same time: the sandbox pause with the containers a and b, and the sandbox other \
               with c and d.",
    inside: "Each witness reads its /proc/self/ns; the sandboxes' are read on the node. No namespace of one pod is one of \
             the other or of the node.",
    kernel: "The same for the namespaces that each program was executed in (sched_process_exec).",
    defects: &[(
        "ns-27-first-pods-paths",
        "the sandbox of a second pod is given the paths of the first one's namespaces",
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
    let mut pods = Vec::new();
    for [sandbox, members @ ..] in PODS {
        pods.push(pod_of(cell, sandbox, &members)?);
    }
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    matrix::node(&mut evidence, &KINDS);
    for pod in &pods {
        matrix::pod(&mut evidence, &trace, pod, &KINDS);
    }
    matrix::keep_trace(&mut evidence, &trace);
    Ok(evidence)
}

/// A pod whose sandbox goes by this name.
fn pod_of(cell: &mut Cell<'_>, sandbox: &str, members: &[&str]) -> Result<Pod, Obstacle> {
    if cell.run.adapter == Adapter::Oci {
        return cell.pod_of(Bundle::witness(sandbox), false, members);
    }
    let mut pod = cell.start_pod(&Manifest::of_witnesses(sandbox, members))?;
    sandbox.clone_into(&mut pod.sandbox.name);
    Ok(pod)
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(KINDS, |kind| {
        let of = |names: &[&str]| {
            names.iter().map(|name| side.number(&format!("{kind}.{name}"))).collect::<Result<Vec<_>, _>>()
        };
        let [first, second] = PODS;
        let (first, second, node) = (of(&first)?, of(&second)?, side.number(&format!("{kind}.node"))?);
        let apart = !second.iter().any(|inode| first.contains(inode));
        let own = !first.contains(&node) && !second.contains(&node);
        Ok(Finding::new(
            apart && own,
            format!("no {kind} namespace of one pod is the other's or the node's"),
            format!("{kind} of the first pod: {first:?}, of the second: {second:?}, of the node: {node}"),
        ))
    })
}
