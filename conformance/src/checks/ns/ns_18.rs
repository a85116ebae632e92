//! NS-18: nothing keeps the namespaces of a pod that was removed.

use std::collections::BTreeSet;

use podproof_ebpf::event::{EventKind, NsKind};

use super::removal;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, Pod, succeeded};
use crate::checks::{Check, Scene, Turn, facts, holders};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::mqueue::QueueDir;
use crate::observe::process;
use crate::observe::trace::Trace;

const REQUIREMENT: Requirement = Requirement {
    id: "NS-18",
    name: "a_removed_pod_leaves_no_namespace",
    level: Level::Must,
    statement: "After pod removal no namespace of the pod remains: no task, no pin, no open descriptor.",
    source: "runtime-spec runtime.md#delete, namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and the containers a and b are killed and deleted, the sandbox last; the suite keeps no \
               descriptor of their namespaces.",
    inside: "On the node no process that came from the runtime is in one of the pod's namespaces or has a descriptor \
             of one, and neither such a process nor the node has one mounted (/proc/PID/ns, fd, mountinfo).",
    kernel: "Every process born into one of them has ended (sched_process_exit), and the pod's IPC namespace has \
             ended: its mqueue file system, which does not hold it, refuses a new queue with EACCES.",
    defects: &[(
        "ns-18-open-namespace",
        "a process of the runtime keeps a descriptor of the pod's IPC namespace",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(false, &["a", "b"])?;
    let namespaces = namespaces_of(&pod);
    let failed = |path: &str| {
        let path = path.into();
        move |source| Obstacle::Node { op: "look at", path, source }
    };
    let queues = QueueDir::of(pod.sandbox.pid).map_err(failed("the sandbox's /dev/mqueue"))?;
    let mut containers: Vec<_> = pod.members.drain(..).collect();
    containers.push(pod.sandbox);
    for container in &mut containers {
        succeeded(&removal::end(cell, container)?)?;
    }
    // What is about to end may do so.
    cell.settled(cell.deadline(3.0))?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    facts::told(&mut evidence, "namespaces", names, "node: /proc/PID/ns of the three processes, before");
    let source = "node: /proc/PID/ns, fd and mountinfo of the runtime's processes, and its own mountinfo";
    evidence.inside("holders.left", holders::of(cell, &trace, &namespaces), source);
    let source = "tp_btf/sched_process_fork, _exec and _exit, up to the fence";
    evidence.kernel("tasks.left", tasks(&trace, &namespaces), source);
    let ended = queues.namespace_ended().map_err(failed("the pod's mqueue file system"))?;
    evidence.kernel("ipc.ended", ended, "openat(2) of a new queue in the pod's mqueue file system");
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Setns { .. } | EventKind::Exec { .. } | EventKind::Exit { .. })
    });
    Ok(evidence)
}

/// The namespaces of the pod that are not the node's, as nsfs names them: `net:[4026532194]`.
fn namespaces_of(pod: &Pod) -> BTreeSet<String> {
    let suites = process::namespaces(std::process::id().cast_signed());
    let pids = pod.members.iter().chain([&pod.sandbox]).map(|container| container.pid);
    pids.flat_map(process::namespaces)
        .filter(|(kind, id)| suites.get(kind) != Some(id))
        .map(|(kind, id)| format!("{kind}:[{}]", id.ino))
        .collect()
}

/// Processes that have not ended and were born in one of these namespaces, or executed a program there.
fn tasks(trace: &Trace, namespaces: &BTreeSet<String>) -> Vec<u32> {
    let is_in = |ns: &podproof_ebpf::event::NsSet| {
        let mut names =
            NsKind::ALL.into_iter().filter_map(|kind| Some(format!("{kind}:[{}]", ns.get(kind)?)));
        names.any(|name| namespaces.contains(&name))
    };
    let living = trace.living();
    let executed = |tgid: u32| {
        let last = trace.execs().rev().find(|exec| exec.task.task.tgid == tgid);
        last.is_some_and(|exec| is_in(&exec.task.ns))
    };
    living
        .iter()
        .filter(|birth| is_in(&birth.child.ns) || executed(birth.child.task.tgid))
        .map(|birth| birth.child.task.tgid)
        .collect()
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (namespaces, holders) = (side.texts("namespaces")?, side.texts("holders.left")?);
    let seen = format!("of {} namespaces these are kept: [{}]", namespaces.len(), holders.join(", "));
    Ok(Finding::new(holders.is_empty(), "nobody keeps a namespace of the pod", seen))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (tasks, ended) = (side.numbers("tasks.left")?, side.flag("ipc.ended")?);
    Ok(Finding::new(
        tasks.is_empty() && ended,
        "no process is in a namespace of the pod, and its IPC namespace has ended",
        format!("processes in them: {tasks:?}, the IPC namespace has ended: {ended}"),
    ))
}
