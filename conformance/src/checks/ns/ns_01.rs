//! NS-01: one network namespace for all containers of a pod.

use podproof_ebpf::event::{EventKind, NsKind};

use crate::catalog::{Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, facts};
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
    scenario: "A sandbox and the containers a and b, which list its network namespace by path.",
    inside: "Each witness reads its /proc/self/ns/net; the sandbox's and the node's are read on the node.",
    kernel: "The network namespace that each program was executed in (sched_process_exec).",
    defects: &[("ns-01-own-netns", "a joining container gets a network namespace of its own")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    serial: false,
    observe,
    rules: Rules { inside: rule, kernel: rule },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let pod = cell.pod(false, &["a", "b"])?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    facts::node_ns(&mut evidence, "node", std::process::id().cast_signed(), "net");
    facts::node_ns(&mut evidence, "pause", pod.sandbox.pid, "net");
    facts::kernel_node_ns(&mut evidence, "net");
    facts::kernel_ns(&mut evidence, &trace, &pod.sandbox, NsKind::Net);
    for member in &pod.members {
        facts::inside_ns(&mut evidence, member, "net");
        facts::kernel_ns(&mut evidence, &trace, member, NsKind::Net);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Setns { .. } | EventKind::Unshare { .. } | EventKind::Exec { .. })
    });
    Ok(evidence)
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let shared = facts::all_equal(side, "network namespace", &["net.pause", "net.a", "net.b"])?;
    Ok(shared.and(facts::all_differ(side, "network namespace", &["net.node", "net.pause"])?))
}
