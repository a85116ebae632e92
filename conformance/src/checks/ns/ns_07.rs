//! NS-07: mount namespaces are private even when everything else is shared.

use std::fs;

use podproof_ebpf::event::{EventKind, NsKind};
use podproof_witness::Command;

use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::{Trace, is};

/// Where a mounts its tmpfs.
const TARGET: &str = "/tmp/of-a";
/// The witness's file in it.
const MARKER: &str = "/tmp/of-a/marker";

const REQUIREMENT: Requirement = Requirement {
    id: "NS-07",
    name: "mount_namespaces_are_private",
    level: Level::Must,
    statement: "Every container has its own mount namespace even when PID, net, IPC and UTS are all shared.",
    source: "runtime-spec config-linux.md#namespaces",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and the containers a and b, which share its PID, network, IPC and UTS namespaces. The \
               witness in a mounts a tmpfs with a file in it.",
    inside: "Each witness reads its /proc/self/ns/mnt, the sandbox's and the node's are read on the node; a sees \
             its file and b does not.",
    kernel: "The mount namespace that each program was executed in (sched_process_exec), the one that a's mount \
             went to (mount), and the mounts of b (its mountinfo, read from outside).",
    defects: &[(
        "ns-07-sandbox-mounts",
        "a container that joins everything else joins the sandbox's mount namespace too",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &["a", "b"])?;
    let timeout = cell.deadline(5.0);
    let mut evidence = Evidence::default();
    let [a, b] = exactly(&mut pod.members)?;
    a.witness()?.ask(Command::MountTmpfs { path: TARGET.to_owned() }, timeout)?;
    for container in [a, b] {
        let seen: bool = container.witness()?.ask_as(Command::Exists { path: MARKER.to_owned() }, timeout)?;
        let name = &container.name;
        evidence.inside(&format!("marker.{name}"), seen, format!("witness {name}: lstat {MARKER}"));
    }
    let trace = cell.trace()?;
    facts::node_ns(&mut evidence, "node", std::process::id().cast_signed(), "mnt");
    facts::node_ns(&mut evidence, "pause", pod.sandbox.pid, "mnt");
    facts::kernel_node_ns(&mut evidence, "mnt");
    facts::kernel_ns(&mut evidence, &trace, &pod.sandbox, NsKind::Mnt);
    for member in &pod.members {
        facts::inside_ns(&mut evidence, member, "mnt");
        facts::kernel_ns(&mut evidence, &trace, member, NsKind::Mnt);
        mounts(&mut evidence, &trace, member);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::Mount { target, .. } => target == TARGET,
        kind => matches!(kind, EventKind::Setns { .. } | EventKind::Unshare { .. } | EventKind::Exec { .. }),
    });
    Ok(evidence)
}

/// The mount that a container made, and whether its list of mounts shows the tmpfs.
fn mounts(evidence: &mut Evidence, trace: &Trace, container: &Container) {
    let name = &container.name;
    for event in &trace.events {
        if let EventKind::Mount { target, ret: 0, mnt_ns: Some(mnt_ns), .. } = &event.kind
            && target == TARGET
            && is(event.current, container.pid)
        {
            evidence.kernel(&format!("mount.{name}"), *mnt_ns, event.source.clone());
        }
    }
    let path = format!("/proc/{}/mountinfo", container.pid);
    if let Ok(mountinfo) = fs::read_to_string(&path) {
        let listed = process::mounts(&mountinfo).iter().any(|mount| mount.target == TARGET);
        evidence.kernel(&format!("listed.{name}"), listed, format!("{path}, read from outside"));
    }
}

fn own_namespaces(side: &Side<'_>) -> Result<Finding, Gap> {
    facts::all_differ(side, "mount namespace", &["mnt.node", "mnt.pause", "mnt.a", "mnt.b"])
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (a, b) = (side.flag("marker.a")?, side.flag("marker.b")?);
    if !a {
        return Err(Gap("a file in a's tmpfs that a itself can see".to_owned()));
    }
    let unseen = Finding::new(!b, "a mount of a is not seen by b", format!("b sees it: {b}"));
    Ok(own_namespaces(side)?.and(unseen))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (target, own, other) = (side.number("mount.a")?, side.number("mnt.a")?, side.number("mnt.b")?);
    let (a, b) = (side.flag("listed.a")?, side.flag("listed.b")?);
    let kept = Finding::new(
        target == own && target != other && a && !b,
        "a's mount goes to a's mount namespace and is listed for a only",
        format!("it went to {target}, a is in {own}, b in {other}; listed for a: {a}, for b: {b}"),
    );
    Ok(own_namespaces(side)?.and(kept))
}
