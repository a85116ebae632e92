//! NS-24: System V objects live as long as the pod, not as their container.

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;
use serde_json::Value;

use super::{removal, segments};
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, exactly, joining, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::mqueue::QueueDir;

/// Left by a.
const TEXT: &str = "left by a";
const ENOENT: i64 = 2;

const REQUIREMENT: Requirement = Requirement {
    id: "NS-24",
    name: "ipc_objects_live_as_long_as_the_pod",
    level: Level::Must,
    statement: "SysV objects outlive the container that created them while the pod lives, and disappear with the pod.",
    source: "sysvipc(7), namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and the containers a and b. The witness in a makes a shared memory segment, a semaphore and a \
               message queue with a message. a is killed, deleted and made again by its old bundle and id; b and the \
               new a use the objects. Then all are deleted, and a container of a fresh pod looks for them.",
    inside: "b reads the segment and adds to the semaphore; the new a reads the segment, takes that, and receives the \
             message; the fresh pod's container is told ENOENT three times.",
    kernel: "IPC namespaces and results of shmget(2) of all four; after the pod's removal its IPC namespace has ended: \
             its mqueue file system, which does not hold it, refuses a new queue with EACCES.",
    defects: &[("ns-24-fresh-ipc", "a container that is made again gets an IPC namespace of its own")],
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
    let key = facts::shm_key(24);
    let timeout = cell.deadline(5.0);
    let failed = |source| Obstacle::Node { op: "open", path: "the sandbox's /dev/mqueue".into(), source };
    let queues = QueueDir::of(pod.sandbox.pid).map_err(failed)?;
    let mut evidence = Evidence::default();
    let [a, b] = exactly(&mut pod.members)?;
    a.witness()?.ask(Command::ShmCreate { key, text: TEXT.to_owned() }, timeout)?;
    a.witness()?.ask(Command::SemCreate { key }, timeout)?;
    a.witness()?.ask(Command::MsgCreate { key, text: TEXT.to_owned() }, timeout)?;
    let first = a.outer_pid();
    succeeded(&removal::end(cell, a)?)?;
    look(cell, &mut evidence, b, "b", key, 1)?;
    let mut again = cell.container(&joining(Bundle::witness("a"), pod.sandbox.pid, false))?;
    look(cell, &mut evidence, &mut again, "again", key, -1)?;
    let mut looked = vec![("a", first), ("b", b.outer_pid()), ("again", again.outer_pid())];
    for container in [&mut again, &mut *b, &mut pod.sandbox] {
        succeeded(&removal::end(cell, container)?)?;
    }
    let ended = queues.namespace_ended().map_err(failed)?;
    evidence.kernel("ipc.ended", ended, "openat(2) of a new queue in the old pod's mqueue file system");
    drop(queues);
    let mut fresh = cell.pod(false, &["c"])?;
    let [c] = exactly(&mut fresh.members)?;
    look(cell, &mut evidence, c, "fresh", key, 1)?;
    looked.push(("fresh", c.outer_pid()));
    clear(c, key, timeout)?;

    let trace = cell.trace()?;
    for (name, pid) in looked {
        segments::lookup(&mut evidence, &trace, name, pid, key);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Exec { .. } | EventKind::Shmget { .. } | EventKind::Exit { .. })
    });
    Ok(evidence)
}

/// Uses the objects: reads the segment, adds this to the semaphore, and takes the message (b leaves that to the new a).
fn look(
    cell: &Cell<'_>,
    evidence: &mut Evidence,
    container: &mut Container,
    name: &str,
    key: i32,
    by: i16,
) -> Result<(), Obstacle> {
    let timeout = cell.deadline(5.0);
    let who = container.name.clone();
    let witness = container.witness()?;
    let mut tell = |what: &str, found: &Value| {
        let source = format!("witness {who}, as {name}: shmget(2), semop(2), msgrcv(2)");
        evidence.inside(&format!("{what}.{name}"), found.clone(), source);
    };
    let read = witness.ask(Command::ShmRead { key }, timeout)?;
    tell("segment.errno", &read["errno"]);
    tell("segment.text", &text_of(&read));
    tell("semop.errno", &witness.ask(Command::SemChange { key, by, timeout_ms: 0 }, timeout)?);
    if name != "b" {
        let received = witness.ask(Command::MsgReceive { key }, timeout)?;
        tell("message.errno", &received["errno"]);
        tell("message.text", &text_of(&received));
    }
    Ok(())
}

fn text_of(found: &Value) -> Value {
    Value::from(found["text"].as_str().unwrap_or_default())
}

/// Removes what is there although it should not be, so that nothing stays behind in a namespace that outlives the pod.
fn clear(container: &mut Container, key: i32, timeout: std::time::Duration) -> Result<(), Obstacle> {
    for remove in [Command::ShmRemove { key }, Command::SemRemove { key }, Command::MsgRemove { key }] {
        // It fails where nothing is there, as it should be.
        drop(container.witness()?.ask(remove, timeout));
    }
    Ok(())
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let errnos = |names: &[&str]| names.iter().map(|name| side.signed(name)).collect::<Result<Vec<_>, _>>();
    let kept = errnos(&[
        "segment.errno.b",
        "semop.errno.b",
        "segment.errno.again",
        "semop.errno.again",
        "message.errno.again",
    ])?;
    let texts =
        [side.text("segment.text.b")?, side.text("segment.text.again")?, side.text("message.text.again")?];
    let outlived = Finding::new(
        kept.iter().all(|errno| *errno == 0) && texts == [TEXT; 3],
        format!("b and the new a use all objects and read `{TEXT}`"),
        format!(
            "b (shmget, semop) and the new a (shmget, semop, msgrcv) got errno {kept:?} and read {texts:?}"
        ),
    );
    let gone = errnos(&["segment.errno.fresh", "semop.errno.fresh", "message.errno.fresh"])?;
    Ok(outlived.and(Finding::new(
        gone.iter().all(|errno| *errno == ENOENT),
        format!("a fresh pod is told ENOENT ({ENOENT})"),
        format!("a fresh pod got errno {gone:?}"),
    )))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let one = facts::all_equal(side, "IPC namespace", &["ipc.a", "ipc.b", "ipc.again"])?;
    let ids = ["a", "b", "again"].map(|name| side.signed(&format!("shmget.{name}")));
    let [a, b, again] = ids;
    let (a, b, again) = (a?, b?, again?);
    let segment = Finding::new(
        a >= 0 && a == b && a == again,
        "one segment for a, b and the new a",
        format!("shmget(2) gave {a} to a, {b} to b, {again} to the new a"),
    );
    let (ended, fresh) = (side.flag("ipc.ended")?, side.signed("shmget.fresh")?);
    let gone = Finding::new(
        ended && fresh == -ENOENT,
        format!("the IPC namespace ends with the pod, and shmget(2) gives {} in a fresh one", -ENOENT),
        format!("the IPC namespace has ended: {ended}; shmget(2) gave {fresh} in a fresh pod"),
    );
    Ok(one.and(segment).and(gone))
}
