//! NS-20: System V shared memory is one for a pod, and nobody else's.

use std::fs;

use podproof_ebpf::event::{Event, EventKind};
use podproof_witness::Command;
use serde_json::Value;

use super::segments;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::{Trace, is};

/// Written by a, read by b.
const TEXT: &str = "made by a";
const ENOENT: i64 = 2;

const REQUIREMENT: Requirement = Requirement {
    id: "NS-20",
    name: "shared_memory_is_the_pods",
    level: Level::Must,
    statement: "SysV shared memory created in A can be attached and read in B, and is invisible from another pod \
                and from the node.",
    source: "sysvipc(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox with the containers a and b, and a container c that is alone. The witness in a makes a \
               shared memory segment and writes a text into it; b, c and a process on the node look for its key.",
    inside: "b reads the text; c is told ENOENT; the key is not in the node's /proc/sysvipc/shm.",
    kernel: "The IPC namespaces and results of the four calls of shmget(2), and b's shmat(2).",
    defects: &[("ns-20-own-ipc", "a joining container gets an IPC namespace of its own")],
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
    let mut stranger = cell.alone("c")?;
    let key = facts::shm_key(20);
    let timeout = cell.deadline(5.0);
    let mut evidence = Evidence::default();
    let [a, b] = exactly(&mut pod.members)?;
    a.witness()?.ask(Command::ShmCreate { key, text: TEXT.to_owned() }, timeout)?;
    for container in [&mut *b, &mut stranger] {
        let read = container.witness()?.ask(Command::ShmRead { key }, timeout)?;
        let name = &container.name;
        let source = format!("witness {name}: shmget(2) and shmat(2) of key {key:#x}");
        evidence.inside(&format!("errno.{name}"), read["errno"].clone(), source.clone());
        if let Value::String(text) = &read["text"] {
            evidence.inside(&format!("text.{name}"), text.clone(), source);
        }
    }
    evidence.inside("node.lists", node_lists(key)?, format!("node: key {key:#x} in /proc/sysvipc/shm"));
    let node = cell.helper(&["shm-find", &key.to_string()])?;
    // While a lives, so that nothing stays behind where the namespace is one that outlives the pod.
    a.witness()?.ask(Command::ShmRemove { key }, timeout)?;

    let trace = cell.trace()?;
    for (name, pid) in [("a", a.pid), ("b", b.pid), ("c", stranger.pid), ("node", node.pid)] {
        segments::lookup(&mut evidence, &trace, name, pid, key);
    }
    attached(&mut evidence, &trace, b);
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Exec { .. } | EventKind::Shmget { .. } | EventKind::Shmat { .. })
    });
    Ok(evidence)
}

fn node_lists(key: i32) -> Result<bool, Obstacle> {
    let path = "/proc/sysvipc/shm";
    let text = fs::read_to_string(path).map_err(|source| Obstacle::Node {
        op: "read",
        path: path.into(),
        source,
    })?;
    let key = key.to_string();
    Ok(text.lines().skip(1).any(|line| line.split_whitespace().next() == Some(key.as_str())))
}

fn attached(evidence: &mut Evidence, trace: &Trace, container: &Container) {
    let is_attach = |event: &&Event| {
        is(event.current, container.pid) && matches!(event.kind, EventKind::Shmat { ret: 0, .. })
    };
    evidence.kernel(
        &format!("attached.{}", container.name),
        trace.events.iter().any(|event| is_attach(&event)),
        "shmat(2) with result 0, up to the fence",
    );
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (b, c, node) = (side.signed("errno.b")?, side.signed("errno.c")?, side.flag("node.lists")?);
    let text = if b == 0 { side.text("text.b")? } else { "" };
    Ok(Finding::new(
        text == TEXT && c == ENOENT && !node,
        format!("b reads `{TEXT}`, c is told ENOENT ({ENOENT}), the node does not list the key"),
        format!("b got errno {b} and reads `{text}`, c got errno {c}, the node lists the key: {node}"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let [a, b, c, node] = ["a", "b", "c", "node"]
        .map(|name| Ok((side.number(&format!("ipc.{name}"))?, side.signed(&format!("shmget.{name}"))?)));
    let (a, b, c, node) = (a?, b?, c?, node?);
    let attached = side.flag("attached.b")?;
    let one = Finding::new(
        a.0 == b.0 && a.1 == b.1 && attached,
        "a and b get one segment in one IPC namespace, and b attaches it",
        format!("a got {} in {}, b got {} in {}, attached by b: {attached}", a.1, a.0, b.1, b.0),
    );
    let alone = Finding::new(
        c.0 != a.0 && node.0 != a.0 && c.1 == -ENOENT && node.1 == -ENOENT,
        "c and the node are in other IPC namespaces and get ENOENT",
        format!("c got {} in {}, the node got {} in {}", c.1, c.0, node.1, node.0),
    );
    Ok(one.and(alone))
}
