//! NS-15: a namespace that only a bind mount keeps can be joined.

use podproof_ebpf::event::{EventKind, NsKind};

use crate::adapter::oci::Caller;
use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, NodeMount, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process::{listed_pids, namespaces, ns_at};

/// The types that live on without a process, with their OCI names.
const KINDS: [(&str, NsKind); 4] =
    [("network", NsKind::Net), ("ipc", NsKind::Ipc), ("uts", NsKind::Uts), ("cgroup", NsKind::Cgroup)];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-15",
    name: "pinned_namespaces_are_joined",
    level: Level::Must,
    statement: "A namespace whose creator has exited can still be joined through a bind-mounted nsfs file.",
    source: "namespaces(7), runtime-spec config-linux.md#namespaces",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "The suite makes a network, IPC, UTS and cgroup namespace, keeps each by a bind mount, and ends the \
               processes in them. A container lists the four mounts as paths.",
    inside: "create succeeds, and the witness reads the inodes of the mounts in its /proc/self/ns.",
    kernel: "No process of the node is in one of the four before create (/proc/PID/ns), and the program was executed \
             in them (sched_process_exec).",
    defects: &[("ns-15-only-proc", "a path that does not lie below /proc is refused")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let holders = cell.hold_namespaces()?;
    let pins: Result<Vec<NodeMount>, Obstacle> = KINDS
        .iter()
        .map(|(_, kind)| {
            cell.pin_namespace(&format!("/proc/{}/ns/{kind}", holders.others), &format!("pinned-{kind}"))
        })
        .collect();
    cell.end_processes(&[holders.user, holders.others])?;
    play(cell, &pins?)
}

fn play(cell: &mut Cell<'_>, pins: &[NodeMount]) -> Result<Evidence, Obstacle> {
    let mut evidence = Evidence::default();
    let mut bundle = Bundle::witness("a");
    let mut inodes = Vec::new();
    for ((listed, kind), pin) in KINDS.iter().zip(pins) {
        let path = pin.target().display().to_string();
        let id = ns_at(pin.target()).map_err(|source| Obstacle::Node {
            op: "stat",
            path: path.clone().into(),
            source,
        })?;
        evidence.inside(&format!("{kind}.pin"), id.ino, format!("node: stat {path}, before create"));
        evidence.kernel(&format!("{kind}.pin"), id.ino, format!("nsfs inode of {path}, before create"));
        inodes.push((*kind, id.ino));
        bundle = bundle.namespace(listed, NsSource::Path(path));
    }
    // As long as they are pinned their inodes are nobody else's.
    evidence.kernel("tasks.before", tasks_in(&inodes)?, "/proc/PID/ns of all processes, before create");
    let (mut container, created) = cell.try_create(&bundle, &Caller::default())?;
    facts::told(&mut evidence, "created", created.ok(), &created.summary());
    if created.ok() {
        cell.start(&container)?;
        cell.greet(&mut container)?;
    }
    let trace = cell.trace()?;
    for (_, kind) in KINDS {
        facts::inside_ns(&mut evidence, &container, kind.proc_name());
        facts::kernel_ns(&mut evidence, &trace, &container, kind);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Setns { .. } | EventKind::Exec { .. } | EventKind::Exit { .. })
    });
    Ok(evidence)
}

/// How many processes of the node are in one of these namespaces.
fn tasks_in(inodes: &[(NsKind, u64)]) -> Result<usize, Obstacle> {
    let listed = listed_pids("/proc".as_ref()).map_err(|source| Obstacle::Node {
        op: "list",
        path: "/proc".into(),
        source,
    })?;
    let is_in = |pid: &u64| {
        let namespaces = i32::try_from(*pid).map(namespaces).unwrap_or_default();
        inodes.iter().any(|(kind, inode)| namespaces.get(kind.proc_name()).is_some_and(|id| id.ino == *inode))
    };
    Ok(listed.iter().filter(|pid| is_in(pid)).count())
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    if !side.flag("created")? {
        return Ok(Finding::new(false, "the container is created", "create fails"));
    }
    KINDS.iter().try_fold(Finding::new(true, "", ""), |found, (_, kind)| {
        let keys = [format!("{kind}.pin"), format!("{kind}.a")];
        Ok(found.and(facts::all_equal(side, &format!("{kind} namespace"), &[&keys[0], &keys[1]])?))
    })
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    if side.number("tasks.before")? != 0 {
        return Err(Gap("namespaces without a process".to_owned()));
    }
    inside(side)
}
