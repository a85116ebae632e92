//! NS-02: the containers of a pod share one IPC namespace, which is not the node's.

use podproof_ebpf::event::NsKind;

use super::membership;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "NS-02",
    name: "containers_share_the_ipc_namespace",
    level: Level::Must,
    statement: "All containers of a pod report the same IPC namespace, different from the node's unless host IPC \
                was asked for.",
    source: "CRI api.proto NamespaceMode POD",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and the containers a and b, which list its IPC namespace by path.",
    inside: "Each witness reads its /proc/self/ns/ipc; the sandbox's and the node's are read on the node.",
    kernel: "The IPC namespace that each program was executed in (sched_process_exec).",
    defects: &[("ns-02-ipc-not-joined", "a joining container is left in the runtime's own IPC namespace")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe: |cell| membership::observe(cell, NsKind::Ipc, false),
    rules: Rules { inside: rule, kernel: rule },
};

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let shared = facts::all_equal(side, "IPC namespace", &["ipc.pause", "ipc.a", "ipc.b"])?;
    Ok(shared.and(facts::all_differ(side, "IPC namespace", &["ipc.node", "ipc.pause"])?))
}
