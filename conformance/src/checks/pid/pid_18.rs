//! PID-18: a monitor on the node adopts no orphan of a private PID namespace.

use podproof_ebpf::event::EventKind;
use podproof_witness::{Command, ListedProcess};

use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "PID-18",
    name: "no_monitor_adopts_from_a_private_pid_namespace",
    level: Level::Must,
    statement: "A monitor outside the namespace that is a subreaper never adopts orphans from inside a private PID \
                namespace.",
    source: "prctl(2) PR_SET_CHILD_SUBREAPER; pid_namespaces(7)",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod that does not share its PIDs, with one container. Its program makes an orphan, which is then let go.",
    inside: "The orphan's parent, while it lives, is PID 1.",
    kernel: "The orphan's parent at its end is the container's program (sched_process_exit).",
    defects: &[("pid-18-pids-of-the-node", "the container shares the PID namespace of its monitor")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(false, &["a"])?;
    let [a] = exactly(&mut pod.members)?;
    let timeout = cell.deadline(10.0);
    let made: Vec<u32> = a.witness()?.ask_as(Command::MakeOrphans { count: 1 }, timeout)?;
    let listed: Vec<ListedProcess> = a.witness()?.ask_as(Command::Processes, timeout)?;
    let trace = cell.trace()?;
    let space = trace.exec_of(a.outer_pid(), &a.program).and_then(|exec| exec.task.ns.pid);
    let orphan = trace.births().rev().find(|birth| {
        birth.child.ns.pid == space && birth.child.ns_pid().is_some_and(|number| made.contains(&number))
    });
    let orphan = orphan.map(|birth| birth.child.task.tgid);
    let orphan = orphan.ok_or_else(|| Obstacle::Trace("it lacks the birth of the orphan".to_owned()))?;
    a.witness()?.ask(Command::ReleaseOrphans, timeout)?;
    cell.await_event(timeout, |event| match &event.kind {
        EventKind::Exit { task, group_dead, .. } => *group_dead && task.task.tgid == orphan,
        _ => false,
    })?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    if let Some(found) = listed.iter().find(|process| made.contains(&process.pid)) {
        evidence.inside("orphan.parent", found.ppid, "witness a: PPid in /proc while the orphan lived");
    }
    if let Some(end) = trace.end_of(orphan.cast_signed()) {
        evidence.kernel("orphan.adopted_by", end.task.parent.tgid, end.event.source.clone());
    }
    evidence.kernel("a", a.outer_pid(), "SO_PEERCRED of witness a");
    facts::keep_trace(&mut evidence, &trace, |kind| {
        pods::tells(kind) || matches!(kind, EventKind::Reparent { .. })
    });
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let parent = side.number("orphan.parent")?;
    Ok(Finding::new(parent == 1, "PID 1 is the orphan's parent", format!("its parent is {parent}")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (adopter, main) = (side.number("orphan.adopted_by")?, side.number("a")?);
    let expected = format!("the container's program, process {main}, adopts the orphan");
    Ok(Finding::new(adopter == main, expected, format!("process {adopter} adopted it")))
}
