//! NS-01: one network namespace for all containers of a pod.

use podproof_ebpf::event::NsKind;

use super::membership;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "NS-01",
    name: "containers_share_the_network_namespace",
    level: Level::Must,
    statement: "All containers of a pod report the same network namespace, different from the node's unless \
                host networking was asked for.",
    source: "Kubernetes concepts/workloads/pods#pod-networking",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and the containers a and b, which list its network namespace by path.",
    inside: "Each witness reads its /proc/self/ns/net; the sandbox's and the node's are read on the node.",
    kernel: "The network namespace that each program was executed in (sched_process_exec).",
    defects: &[("ns-01-own-netns", "a joining container gets a network namespace of its own")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside: rule, kernel: rule },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    membership::observe(cell, NsKind::Net, false)
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let shared = facts::all_equal(side, "network namespace", &["net.pause", "net.a", "net.b"])?;
    Ok(shared.and(facts::all_differ(side, "network namespace", &["net.node", "net.pause"])?))
}
