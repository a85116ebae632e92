//! NS-28: one namespace of the node is asked for, and no other is given.

use podproof_ebpf::event::NsKind;

use super::matrix;
use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, Pod, joining};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

/// What a pod can have from the node, by its OCI name, with the names of that pod's sandbox and container.
const PODS: [(&str, NsKind, [&str; 2]); 3] = [
    ("network", NsKind::Net, ["net-pause", "net-a"]),
    ("ipc", NsKind::Ipc, ["ipc-pause", "ipc-a"]),
    ("pid", NsKind::Pid, ["pid-pause", "pid-a"]),
];
const KINDS: [NsKind; 6] = [NsKind::Net, NsKind::Ipc, NsKind::Pid, NsKind::Uts, NsKind::Mnt, NsKind::Cgroup];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-28",
    name: "one_host_namespace_is_given_alone",
    level: Level::Must,
    statement: "Asking for one host namespace (net, IPC or PID) yields the node's namespace for that type only.",
    source: "CRI api.proto NamespaceMode NODE; runtime-spec config-linux.md#namespaces",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "Three pods of a sandbox and a container. Both of the first do not list the network namespace, of the second \
               the IPC namespace, of the third the PID namespace; all others they list as ever.",
    inside: "Each witness reads its /proc/self/ns; the sandboxes' and the node's are read on the node.",
    kernel: "The namespaces that each program was executed in (sched_process_exec).",
    defects: &[("ns-28-ipc-too", "a pod with the node's network gets the node's IPC namespace as well")],
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
    for (kind, _, [sandbox, member]) in PODS {
        let sandbox = cell.sandbox_from(Bundle::witness(sandbox).namespace(kind, NsSource::Inherited))?;
        let bundle = joining(Bundle::witness(member), sandbox.pid, false);
        let member = cell.container(&bundle.namespace(kind, NsSource::Inherited))?;
        pods.push(Pod { name: String::new(), sandbox, members: vec![member] });
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

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let each = |kind: NsKind, asked: NsKind, name: &str| {
        let (node, own) = (format!("{kind}.node"), format!("{kind}.{name}"));
        if kind == asked {
            facts::all_equal(side, &format!("{kind} namespace"), &[&node, &own])
        } else {
            facts::all_differ(side, &format!("{kind} namespace"), &[&node, &own])
        }
    };
    matrix::each(PODS, |(_, asked, names)| {
        matrix::each(names, |name| matrix::each(KINDS, |kind| each(kind, asked, name)))
    })
}
