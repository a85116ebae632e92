//! NS-21: System V semaphores and message queues work across the containers of a pod.

use podproof_ebpf::event::NsKind;
use podproof_witness::Command;

use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::helper::SysvRecords;
use crate::judge::{Finding, Rules};

/// Sent by a, received by b.
const TEXT: &str = "sent by a";

const REQUIREMENT: Requirement = Requirement {
    id: "NS-21",
    name: "semaphores_and_queues_cross_containers",
    level: Level::Must,
    statement: "SysV semaphores and message queues work across containers of a pod.",
    source: "sysvipc(7), Kubernetes concepts/workloads/pods#pod-networking",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox with the containers a and b. The witness in a makes a message queue with one message and a \
               semaphore, and waits for that; then b adds to the semaphore and receives the message.",
    inside: "b's semop(2) succeeds and so does the one that a waits in; b reads the message.",
    kernel: "The IPC namespaces of the programs (sched_process_exec). In that of the sandbox, the kernel's records of \
             the semaphore (GETNCNT, GETPID of semctl(2)) and of the queue (/proc/sysvipc/msg): one waits before b \
             acts, a's operation is the last one, a sent and b received.",
    defects: &[(
        "ns-21-left-again",
        "a joining container leaves the pod's IPC namespace right before its program",
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
    let key = facts::shm_key(21);
    let timeout = cell.deadline(5.0);
    let timeout_ms = millis(timeout);
    let [a, b] = exactly(&mut pod.members)?;
    a.witness()?.ask(Command::SemCreate { key }, timeout)?;
    a.witness()?.ask(Command::MsgCreate { key, text: TEXT.to_owned() }, timeout)?;
    let waits = a.witness()?.tell(Command::SemChange { key, by: -1, timeout_ms })?;
    let ipc = format!("/proc/{}/ns/ipc", pod.sandbox.pid);
    let before = records(cell, &ipc, key, timeout_ms)?;

    let mut evidence = Evidence::default();
    let posted = b.witness()?.ask(Command::SemChange { key, by: 1, timeout_ms: 0 }, timeout)?;
    evidence.inside("semop.b", posted, "witness b: semtimedop(2) of +1");
    // Where b could not add to it, a waits its time out.
    let woken = a.witness()?.answer(waits, "sem_change", timeout * 2)?;
    evidence.inside("semop.a", woken, "witness a: semtimedop(2) of -1, begun before");
    let received = b.witness()?.ask(Command::MsgReceive { key }, timeout)?;
    evidence.inside("msgrcv.b", received["errno"].clone(), "witness b: msgget(2) and msgrcv(2)");
    evidence.inside("text.b", received["text"].as_str().unwrap_or_default(), "witness b: msgrcv(2)");
    let after = records(cell, &ipc, key, 0)?;
    // While a lives, so that nothing stays behind where the namespace is one that outlives the pod.
    a.witness()?.ask(Command::SemRemove { key }, timeout)?;
    a.witness()?.ask(Command::MsgRemove { key }, timeout)?;

    let trace = cell.trace()?;
    kernel_records(&mut evidence, before, after);
    for container in [&*a, &*b] {
        facts::kernel_ns(&mut evidence, &trace, container, NsKind::Ipc);
        process(&mut evidence, container);
    }
    facts::keep_entries(&mut evidence, &trace);
    Ok(evidence)
}

/// What the kernel keeps of the objects of this key in an IPC namespace.
fn records(cell: &mut Cell<'_>, ipc: &str, key: i32, await_waiter_ms: u64) -> Result<SysvRecords, Obstacle> {
    let (key, wait) = (key.to_string(), format!("--await-waiter={await_waiter_ms}"));
    let printed = cell.helper(&["sysv-records", ipc, &key, &wait])?.stdout;
    serde_json::from_str(&printed).map_err(|error| Obstacle::Node {
        op: "parse what the helper printed:",
        path: printed.into(),
        source: error.into(),
    })
}

fn kernel_records(evidence: &mut Evidence, before: SysvRecords, after: SysvRecords) {
    let ipc = "in the sandbox's IPC namespace";
    evidence.kernel("sem.waiting", before.waiting, format!("semctl(2) GETNCNT {ipc}, before b acts"));
    evidence.kernel("sem.last_by", after.sem_last_by, format!("semctl(2) GETPID {ipc}"));
    evidence.kernel("msg.sent_by", after.msg_sent_by, format!("/proc/sysvipc/msg (lspid) {ipc}"));
    evidence.kernel("msg.received_by", after.msg_received_by, format!("/proc/sysvipc/msg (lrpid) {ipc}"));
}

fn process(evidence: &mut Evidence, container: &Container) {
    let key = format!("pid.{}", container.name);
    evidence.kernel(&key, container.outer_pid(), "SO_PEERCRED of the witness's connection");
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (b, a) = (side.signed("semop.b")?, side.signed("semop.a")?);
    let (received, text) = (side.signed("msgrcv.b")?, side.text("text.b")?);
    Ok(Finding::new(
        [a, b, received] == [0; 3] && text == TEXT,
        format!("both operations on the semaphore succeed, and b receives `{TEXT}`"),
        format!("semop(2) of b got errno {b}, that of a {a}; b's msgrcv(2) got errno {received}, `{text}`"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let one = facts::all_equal(side, "IPC namespace", &["ipc.a", "ipc.b"])?;
    let (a, b) = (side.number("pid.a")?, side.number("pid.b")?);
    let (waiting, last) = (side.number("sem.waiting")?, side.number("sem.last_by")?);
    let (sent, received) = (side.number("msg.sent_by")?, side.number("msg.received_by")?);
    Ok(one.and(Finding::new(
        waiting == 1 && last == a && sent == a && received == b,
        format!("one waits, and then the semaphore was changed last by {a}, the message sent by {a}, received by {b}"),
        format!("{waiting} waited; changed last by {last}, sent by {sent}, received by {received}"),
    )))
}
