//! PID-09: the end of PID 1 is the end of everything in its namespace.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::cgroup::{Cgroup, Layout};
use crate::observe::process;
use crate::observe::trace::{CLONE_THREAD, Trace, is};

/// Processes beside PID 1.
const MEMBERS: u32 = 10;
/// How many of them get a cgroup of their own, where cgroup v2 allows it.
const MOVED: usize = 3;
/// They end by themselves after this many seconds, should nothing else end them.
const LIFE_SECONDS: f64 = 60.0;
const SIGKILL: u32 = 9;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-09",
    name: "the_end_of_pid_1_ends_the_namespace",
    level: Level::Must,
    statement: "When PID 1 of a namespace ends the kernel kills every other process in it.",
    source: "pid_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container with a new PID namespace, whose program starts ten processes that do not depend on it: \
               each in its own session, some in cgroups of their own where the machine has cgroup v2. Then the \
               program exits; the runtime is not called any more.",
    inside: "Once PID 1 has been reaped, none of the ten is left on the node.",
    kernel: "Each of the ten is sent SIGKILL by the dying PID 1 itself, by nobody else, and ends by it.",
    defects: &[(
        "pid-09-no-pid-namespace",
        "a container that asks for a PID namespace of its own stays in its caller's",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut container = cell.container(&Bundle::witness("a"))?;
    let for_ms = millis(cell.deadline(LIFE_SECONDS));
    let timeout = cell.deadline(10.0);
    let made: Vec<u64> =
        container.witness()?.ask_as(Command::ForkStaying { count: MEMBERS, for_ms }, timeout)?;
    let pid = container.outer_pid();
    let members = members_on_the_node(pid)?;
    let moved = if cell.run.layout == Layout::Unified { scatter(pid, &members)? } else { Vec::new() };

    container.witness()?.tell(Command::Exit { code: 0 })?;
    let ended = end(cell, &container)?;
    // PID 1 becomes a zombie only after the last of its namespace is gone, so there is nothing more to wait for.
    let left =
        members.iter().filter(|(pid, numbers)| process::ns_pids(*pid).as_ref() == Some(numbers)).count();
    let trace = cell.trace()?;
    for dir in &moved {
        if let Err(error) = fs::remove_dir(dir) {
            tracing::debug!(path = %dir.display(), %error, "left to the end of the cell");
        }
    }

    let mut evidence = Evidence::default();
    evidence.inside("made", made.len(), "witness a: pids of the processes that it started");
    evidence.inside(
        "there",
        members.len(),
        format!("node: living processes with PPid {pid}, before the end"),
    );
    evidence.inside("moved", moved.len(), "node: of these, moved to cgroups of their own");
    evidence.inside("main.ended", ended, format!("node: waitid(2) for {pid} by the suite"));
    evidence.inside("left", left, "node: NSpid in /proc/PID/status, after the end");
    kernel_facts(&mut evidence, &trace, pid);
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::SignalGenerate { signal, .. } => *signal == SIGKILL,
        EventKind::Exit { .. } | EventKind::CgroupAttach { .. } => true,
        _ => false,
    });
    Ok(evidence)
}

/// The living children of PID 1 with their numbers, so that one that comes later is not taken for one of them.
fn members_on_the_node(pid: i32) -> Result<Vec<(i32, Vec<u64>)>, Obstacle> {
    let children = process::children(pid).map_err(|source| Obstacle::Node {
        op: "list",
        path: PathBuf::from("/proc"),
        source,
    })?;
    let living =
        children.into_iter().filter(|child| process::state(*child).is_some_and(|state| state != 'Z'));
    Ok(living.filter_map(|child| Some((child, process::ns_pids(child)?))).collect())
}

/// Moves some of the processes to cgroups of their own, below the container's; the new directories.
fn scatter(pid: i32, members: &[(i32, Vec<u64>)]) -> Result<Vec<PathBuf>, Obstacle> {
    let missing = || Obstacle::Node {
        op: "find the cgroup of",
        path: PathBuf::from(format!("/proc/{pid}")),
        source: io::Error::from(io::ErrorKind::NotFound),
    };
    let above = Cgroup::of(pid).ok_or_else(missing)?;
    members
        .iter()
        .take(MOVED)
        .map(|(member, _)| {
            let dir = above.dir().join(format!("member-{member}"));
            move_to(&dir, *member).map_err(|source| Obstacle::Node {
                op: "move a process to",
                path: dir.clone(),
                source,
            })?;
            Ok(dir)
        })
        .collect()
}

fn move_to(dir: &Path, pid: i32) -> io::Result<()> {
    fs::create_dir(dir)?;
    fs::write(dir.join("cgroup.procs"), pid.to_string())
}

/// Waits until the container's program is gone. Where it is not the main process its connection tells.
fn end(cell: &mut Cell<'_>, container: &Container) -> Result<bool, Obstacle> {
    let timeout = cell.deadline(10.0);
    if container.outer_pid() == container.pid {
        return Ok(cell.wait(container.pid, timeout)?.is_some());
    }
    Ok(container.link.as_ref().is_some_and(|link| link.wait_gone(timeout)))
}

fn kernel_facts(evidence: &mut Evidence, trace: &Trace, pid: i32) {
    let Some(end) = trace.end_of(pid) else { return };
    let is_process = |flags: u64| flags & CLONE_THREAD == 0;
    // One that ended earlier was not there to be killed.
    let gone: BTreeSet<u32> = trace
        .exits()
        .filter(|exit| exit.group_dead && exit.event.seq < end.event.seq)
        .map(|exit| exit.task.task.tgid)
        .collect();
    let members: BTreeSet<u32> = trace
        .births()
        .filter(|birth| is(birth.child.parent, pid) && is_process(birth.flags))
        .map(|birth| birth.child.task.tgid)
        .filter(|tgid| !gone.contains(tgid))
        .collect();
    let (mut by_pid_1, mut by_others) = (BTreeSet::new(), BTreeSet::new());
    for event in &trace.events {
        if let EventKind::SignalGenerate { signal: SIGKILL, target, .. } = &event.kind
            && members.contains(&target.tgid)
        {
            let senders = if is(event.current, pid) { &mut by_pid_1 } else { &mut by_others };
            senders.insert(target.tgid);
        }
    }
    let killed = trace
        .exits()
        .filter(|exit| exit.group_dead && members.contains(&exit.task.task.tgid))
        .filter(|exit| exit.event.seq > end.event.seq && exit.status & 0x7f == SIGKILL)
        .count();
    evidence.kernel(
        "members",
        members.len(),
        "tp_btf/task_newtask: processes that PID 1 created and that outlived it",
    );
    let source = "tp_btf/signal_generate";
    evidence.kernel("killed.by_pid_1", by_pid_1.len(), format!("{source}: SIGKILL, current is PID 1"));
    evidence.kernel("killed.by_others", by_others.len(), format!("{source}: SIGKILL, current is not PID 1"));
    let source = "tp_btf/sched_process_exit: by signal 9, after PID 1's own, up to the fence";
    evidence.kernel("ended", killed, source);
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (made, there, left) = (side.number("made")?, side.number("there")?, side.number("left")?);
    if made != u64::from(MEMBERS) || there != made || !side.flag("main.ended")? {
        return Err(Gap(format!("the end of a PID 1 with {MEMBERS} others ({there} were there)")));
    }
    let expected = "no other process is left after the end of PID 1";
    Ok(Finding::new(left == 0, expected, format!("{left} of {there} are left")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let members = side.number("members")?;
    if members != u64::from(MEMBERS) {
        return Err(Gap(format!("{MEMBERS} processes created by PID 1 (there are {members})")));
    }
    let (own, others) = (side.number("killed.by_pid_1")?, side.number("killed.by_others")?);
    let ended = side.number("ended")?;
    Ok(Finding::new(
        own == members && others == 0 && ended == members,
        "every other process is killed by the dying PID 1",
        format!("{own} of {members} were sent SIGKILL by PID 1, {others} by others, {ended} ended by it"),
    ))
}
