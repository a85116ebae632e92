//! NS-06: with process sharing every container is in the sandbox's PID namespace.

use podproof_ebpf::event::NsKind;

use super::membership;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "NS-06",
    name: "process_sharing_joins_the_sandbox",
    level: Level::Must,
    statement: "With process sharing on, every container reports the sandbox's PID namespace.",
    source: "Kubernetes share-process-namespace",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and the containers a and b, which list its PID namespace by path.",
    inside: "Each witness reads its /proc/self/ns/pid; the sandbox's and the node's are read on the node.",
    kernel: "The PID namespace that each program was executed in (sched_process_exec).",
    defects: &[(
        "ns-06-no-fork",
        "the PID namespace is joined without a fork after it, so that only the program's children are in it",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe: |cell| membership::observe(cell, NsKind::Pid, true),
    rules: Rules { inside: rule, kernel: rule },
};

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let shared = facts::all_equal(side, "PID namespace", &["pid.pause", "pid.a", "pid.b"])?;
    Ok(shared.and(facts::all_differ(side, "PID namespace", &["pid.node", "pid.pause"])?))
}
