//! NS-22: POSIX message queues are one for a pod, and nobody else's.

use podproof_ebpf::event::{EventKind, NsKind};
use podproof_witness::Command;

use super::shared_files;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::mqueue::{MOUNT_POINT, pending_bytes};

/// Sent by a, received by b.
const TEXT: &str = "sent by a";
const ENOENT: i64 = 2;

const REQUIREMENT: Requirement = Requirement {
    id: "NS-22",
    name: "message_queues_are_the_pods",
    level: Level::Must,
    statement: "POSIX message queues are shared inside a pod and isolated between pods.",
    source: "mq_overview(7), ipc_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox with the containers a and b, a container c that is alone, and a queue of the node. The witness \
               in a makes a queue and sends a message; b receives it, c and a process on the node look for the queue.",
    inside: "b reads the message; c and the node are told ENOENT. /dev/mqueue is one file system in a and b, and \
             another one in c; it lists the queue in a and b only, and the node's queue nowhere.",
    kernel: "The IPC namespaces that the programs were executed in (sched_process_exec); device and names of \
             /dev/mqueue, and the bytes that wait in the queue before and after (QSIZE), read from outside.",
    defects: &[
        ("ns-22-mqueue-of-node", "/dev/mqueue is bind-mounted from the node"),
        ("ns-22-mounted-too-early", "/dev/mqueue is mounted before the pod's IPC namespace is joined"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let (queue, of_node) = (shared_files::name("ns-22"), shared_files::name("ns-22-node"));
    cell.helper(&["queue", "make", &format!("/{of_node}")])?;
    let evidence = play(cell, &queue, &of_node);
    cell.helper(&["queue", "remove", &format!("/{of_node}")])?;
    evidence
}

fn play(cell: &mut Cell<'_>, queue: &str, of_node: &str) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(false, &["a", "b"])?;
    let mut stranger = cell.container(&Bundle::witness("c"))?;
    let name = format!("/{queue}");
    let timeout = cell.deadline(5.0);
    let mut evidence = Evidence::default();
    shared_files::made(&mut evidence, &[queue]);
    facts::told(&mut evidence, "made.by_node", of_node, "the suite's own choice");
    let [a, b] = exactly(&mut pod.members)?;
    a.witness()?.ask(Command::MqCreate { name: name.clone(), text: TEXT.to_owned() }, timeout)?;
    for container in [&mut *a, &mut *b, &mut stranger] {
        shared_files::look(cell, &mut evidence, container, MOUNT_POINT)?;
    }
    let source = format!("{name} in the mqueue file system of a (QSIZE), read on the node");
    evidence.kernel_if("waiting.before", pending_bytes(a.outer_pid(), &name), source.clone());
    for container in [&mut *b, &mut stranger] {
        let found = container.witness()?.ask(Command::MqReceive { name: name.clone() }, timeout)?;
        shared_files::read(&mut evidence, &container.name, &found, "mq_open(3) and mq_receive(3)");
    }
    evidence.kernel_if("waiting.after", pending_bytes(a.outer_pid(), &name), source);
    let found = cell.helper(&["queue", "find", &name])?.stdout;
    let errno: Option<i64> = found.trim().parse().ok();
    evidence.inside("errno.node", errno, "node: mq_open(3)");
    // While a lives, so that nothing stays behind where the namespace is one that outlives the pod.
    a.witness()?.ask(Command::MqRemove { name }, timeout)?;

    let trace = cell.trace()?;
    facts::kernel_node_ns(&mut evidence, "ipc");
    for container in [&*a, &*b, &stranger] {
        facts::kernel_ns(&mut evidence, &trace, container, NsKind::Ipc);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Setns { .. } | EventKind::Mount { .. } | EventKind::Exec { .. })
    });
    Ok(evidence)
}

/// One file system with the queue for a and b, and nowhere the node's queue.
fn listed(side: &Side<'_>) -> Result<Finding, Gap> {
    let of_node = side.text("made.by_node")?;
    let lists = [side.texts("names.a")?, side.texts("names.b")?, side.texts("names.c")?];
    let apart = Finding::new(
        lists.iter().all(|names| !names.contains(&of_node)),
        "the node's queue is listed nowhere",
        format!("{of_node} of the node is listed in a container"),
    );
    Ok(shared_files::rule(side, "mqueue")?.and(apart))
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (b, c, node) = (side.signed("errno.b")?, side.signed("errno.c")?, side.signed("errno.node")?);
    let text = if b == 0 { side.text("text.b")? } else { "" };
    let received = Finding::new(
        text == TEXT && [c, node] == [ENOENT; 2],
        format!("b receives `{TEXT}`, c and the node are told ENOENT ({ENOENT})"),
        format!("b got errno {b} and `{text}`, c got errno {c}, the node {node}"),
    );
    Ok(received.and(listed(side)?))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let one = facts::all_equal(side, "IPC namespace", &["ipc.a", "ipc.b"])?;
    let apart = facts::all_differ(side, "IPC namespace", &["ipc.a", "ipc.c", "ipc.node"])?;
    let found = one.and(apart).and(listed(side)?);
    if !found.holds {
        return Ok(found);
    }
    let (before, after) = (side.number("waiting.before")?, side.number("waiting.after")?);
    Ok(found.and(Finding::new(
        before == TEXT.len() as u64 && after == 0,
        format!("{} bytes wait in the queue before b receives, none after", TEXT.len()),
        format!("{before} bytes wait in the queue before b receives, {after} after"),
    )))
}
