//! NS-05: unless process sharing is asked for, every container has a PID namespace of its own.

use podproof_ebpf::event::NsKind;

use super::membership;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "NS-05",
    name: "pid_namespaces_are_private",
    level: Level::Must,
    statement: "Without a request for process sharing every container has its own PID namespace, also different \
                from the sandbox's.",
    source: "CRI api.proto NamespaceMode CONTAINER",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and the containers a and b, which share its network, IPC and UTS namespaces and list a \
               PID namespace without a path.",
    inside: "Each witness reads its /proc/self/ns/pid; the sandbox's and the node's are read on the node.",
    kernel: "The PID namespace that each program was executed in (sched_process_exec).",
    defects: &[("ns-05-inherited-pid", "the second container of a pod gets the first one's PID namespace")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe: |cell| membership::observe(cell, NsKind::Pid, false),
    rules: Rules { inside: rule, kernel: rule },
};

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    facts::all_differ(side, "PID namespace", &["pid.node", "pid.pause", "pid.a", "pid.b"])
}
