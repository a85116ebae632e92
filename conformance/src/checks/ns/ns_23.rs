//! NS-23: /dev/shm is one for a pod, so that POSIX shared memory and named semaphores are the pod's.

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;
use serde_json::json;

use super::shared_files;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, NodeMount, Obstacle, joining};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

/// Where POSIX shared memory and named semaphores lie (shm_overview(7), sem_overview(7)).
const SHM: &str = "/dev/shm";
/// Written by a, read by b.
const TEXT: &str = "made by a";
const ENOENT: i64 = 2;

const REQUIREMENT: Requirement = Requirement {
    id: "NS-23",
    name: "posix_shared_memory_is_the_pods",
    level: Level::Must,
    statement: "/dev/shm is one tmpfs for all containers of a pod, so POSIX shared memory and named semaphores cross \
                containers, and not pods.",
    source: "shm_overview(7), sem_overview(7), Kubernetes concepts/workloads/pods#pod-networking",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and the containers a and b, which bind a tmpfs of the pod to /dev/shm, as CRI implementations \
               arrange it; a container c that is alone has one of its own. The witness in a makes shared memory with \
               a text and a semaphore; b reads the one and posts the other, a takes it; c looks for both.",
    inside: "b reads the text and posts, a's sem_timedwait(3) succeeds, c is told ENOENT twice. /dev/shm is one tmpfs \
             in a and b and lists both objects, and another one in c.",
    kernel: "Device, type and names of /dev/shm in all three, read from outside (/proc/PID/mountinfo, /proc/PID/root).",
    defects: &[("ns-23-own-shm", "a joining container mounts a tmpfs of its own on /dev/shm")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel: |side| shared_files::rule(side, "tmpfs") },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let sandbox = cell.sandbox("pause")?;
    let shm = cell.mount_tmpfs("shm")?;
    let member = |name: &str| bound(joining(Bundle::witness(name), sandbox.pid, false), &shm);
    let mut a = cell.container(&member("a"))?;
    let mut b = cell.container(&member("b"))?;
    let own = json!({ "destination": SHM, "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "noexec"] });
    let mut stranger = cell.container(&Bundle::witness("c").with("/mounts/-", own))?;

    let object = shared_files::name("ns-23");
    let name = format!("/{object}");
    let timeout = cell.deadline(5.0);
    let mut evidence = Evidence::default();
    // The C library puts a named semaphore into a file with this prefix.
    shared_files::made(&mut evidence, &[&object, &format!("sem.{object}")]);
    a.witness()?.ask(Command::PosixShmCreate { name: name.clone(), text: TEXT.to_owned() }, timeout)?;
    a.witness()?.ask(Command::PosixSemCreate { name: name.clone() }, timeout)?;
    for container in [&mut b, &mut stranger] {
        let found = container.witness()?.ask(Command::PosixShmRead { name: name.clone() }, timeout)?;
        shared_files::read(&mut evidence, &container.name, &found, "shm_open(3) and read(2)");
        let posted = container.witness()?.ask(Command::PosixSemPost { name: name.clone() }, timeout)?;
        let source = format!("witness {}: sem_open(3) and sem_post(3)", container.name);
        evidence.inside(&format!("post.{}", container.name), posted, source);
    }
    let taken = a.witness()?.ask(Command::PosixSemWait { name, timeout_ms: 0 }, timeout)?;
    evidence.inside("wait.a", taken, "witness a: sem_timedwait(3)");
    for container in [&mut a, &mut b, &mut stranger] {
        shared_files::look(cell, &mut evidence, container, SHM)?;
    }
    facts::keep_trace(&mut evidence, &cell.trace()?, |kind| {
        matches!(kind, EventKind::Mount { .. } | EventKind::MoveMount { .. } | EventKind::Exec { .. })
    });
    Ok(evidence)
}

/// The container with the pod's tmpfs on its /dev/shm.
fn bound(bundle: Bundle, shm: &NodeMount) -> Bundle {
    bundle.with(
        "/mounts/-",
        json!({ "destination": SHM, "type": "bind", "source": shm.target(),
                "options": ["bind", "rw", "nosuid", "nodev", "noexec"] }),
    )
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (b, c) = (side.signed("errno.b")?, side.signed("errno.c")?);
    let (post_b, post_c, wait) = (side.signed("post.b")?, side.signed("post.c")?, side.signed("wait.a")?);
    let text = if b == 0 { side.text("text.b")? } else { "" };
    let crossed = Finding::new(
        text == TEXT && [post_b, wait] == [0; 2] && [c, post_c] == [ENOENT; 2],
        format!("b reads `{TEXT}` and posts, a takes that, c is told ENOENT ({ENOENT}) twice"),
        format!(
            "b got errno {b} and `{text}`, its sem_post(3) {post_b}, a's sem_timedwait(3) {wait}; c got {c} and {post_c}"
        ),
    );
    Ok(crossed.and(shared_files::rule(side, "tmpfs")?))
}
