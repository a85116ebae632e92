//! REAP-07: an exit status belongs to the real parent.

use std::collections::BTreeSet;

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;
use serde::Deserialize;

use super::orphans::Orphans;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::{Trace, is};

/// Exit code of the worker's child.
const CHILD_CODE: i32 = 42;
/// Exit code of the container's program.
const MAIN_CODE: i32 = 7;

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-07",
    name: "a_status_is_left_to_the_real_parent",
    level: Level::Must,
    statement: "The sandbox process never takes the exit status of a child whose real parent is alive.",
    source: "wait(2); credentials(7)",
    // The kernel lets nobody wait for another's child: where the sandbox process can, a runtime gave it that child, or
    // gave the parent a disposition of SIGCHLD that throws statuses away.
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and a container that joins its PID namespace. A child of the container's program exits, \
               and is not waited for before the sandbox process has reaped an orphan that ended after it. Then the \
               container's program itself exits, whose parent is the suite.",
    inside: "The program still gets its child's status, 42, and the suite that of the program, 7.",
    kernel: "The child is released by the program after the orphan was released by another, and the program by the \
             suite's own process.",
    defects: &[(
        "reap-07-ignores-children",
        "containers are started with SIGCHLD ignored, so that the kernel reaps for them",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// What the witness's wait brought.
#[derive(Debug, Deserialize)]
struct Waited {
    status: Option<u32>,
    errno: i32,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &["a"])?;
    let [member] = exactly(&mut pod.members)?;
    let timeout = cell.deadline(10.0);
    let child = member.witness()?.ask_as(Command::ForkExiting { code: CHILD_CODE }, timeout)?;
    let child = on_the_node(cell, member, child)?;
    await_end(cell, child)?;
    // The sandbox process has waited for whatever it could before this one is gone.
    let orphan = Orphans::make(cell, member, 1)?;
    orphan.release(cell, member)?;
    orphan.await_reaped(cell, cell.deadline(2.0))?;
    let reaped_early = cell.trace()?.reap_of(child.outer).is_some();
    let waited: Waited = member.witness()?.ask_as(Command::WaitChild { pid: child.inner }, timeout)?;

    let main = member.outer_pid();
    member.witness()?.tell(Command::Exit { code: MAIN_CODE })?;
    let status = cell.wait(main, cell.deadline(5.0))?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    evidence.inside("child.errno", waited.errno, "witness a: errno of its late waitpid(2)");
    if let Some(status) = waited.status {
        evidence.inside("child.code", (status >> 8) & 0xff, "witness a: its late waitpid(2)");
    }
    let source = format!("node: waitid(2) for {main} by the suite");
    evidence.inside("main.waited", status.is_some(), source.clone());
    if let Some(code) = status.and_then(|status| status.code()) {
        evidence.inside("main.code", code, source);
    }
    let orphans = orphan.fates(&trace).reaped.len();
    evidence.kernel("orphan.reaped", orphans == 1, orphan.source_of_reaps(&trace));
    evidence.kernel("child.reaped_early", reaped_early, "a release of the child before its parent waited");
    let names = |tgid: u32| name_of(tgid, pod.sandbox.pid, main, cell.launcher_tgid());
    for (name, tgid) in [("child", child.outer), ("main", main.unsigned_abs())] {
        let reap = trace.reap_of(tgid);
        let by = reap.map_or_else(
            || "nobody".to_owned(),
            |(event, _)| {
                if event.current.tgid == tgid { "the kernel".to_owned() } else { names(event.current.tgid) }
            },
        );
        let source = reap.map_or("no release up to the fence", |(event, _)| event.source.as_str());
        evidence.kernel(&format!("{name}.reaper"), by, source);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| concerns(kind, &[child.outer, main.unsigned_abs()]));
    Ok(evidence)
}

/// A process with its numbers inside and on the node.
#[derive(Debug, Clone, Copy)]
struct Child {
    inner: i32,
    outer: u32,
}

fn on_the_node(cell: &Cell<'_>, container: &Container, inner: i32) -> Result<Child, Obstacle> {
    let trace: Trace = cell.trace()?;
    let born = trace.births().find(|birth| {
        is(birth.child.parent, container.outer_pid())
            && birth.child.ns_pid().is_some_and(|number| i32::try_from(number) == Ok(inner))
    });
    let outer = born.map(|birth| birth.child.task.tgid);
    let outer =
        outer.ok_or_else(|| Obstacle::Trace("it lacks the birth of the program's child".to_owned()))?;
    Ok(Child { inner, outer })
}

fn await_end(cell: &Cell<'_>, child: Child) -> Result<(), Obstacle> {
    if cell.await_ends(&BTreeSet::from([child.outer]), cell.deadline(5.0))? {
        Ok(())
    } else {
        Err(Obstacle::Trace("it lacks the end of the program's child".to_owned()))
    }
}

fn name_of(tgid: u32, sandbox: i32, main: i32, suite: u32) -> String {
    let is_it = |pid: i32| i32::try_from(tgid) == Ok(pid);
    if is_it(sandbox) {
        "pause".to_owned()
    } else if is_it(main) {
        "the program".to_owned()
    } else if tgid == suite {
        "the suite".to_owned()
    } else {
        format!("process {tgid}")
    }
}

fn concerns(kind: &EventKind, tgids: &[u32]) -> bool {
    match kind {
        EventKind::Exit { task, .. } => tgids.contains(&task.task.tgid),
        EventKind::ZombieStart { task, .. } | EventKind::Reap { task, .. } => tgids.contains(&task.tgid),
        _ => false,
    }
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let expected =
        format!("the program gets status {CHILD_CODE} of its child, the suite {MAIN_CODE} of the program");
    let errno = side.signed("child.errno")?;
    if errno != 0 {
        return Ok(Finding::new(
            false,
            expected,
            format!("the program's waitpid(2) failed with errno {errno}"),
        ));
    }
    if !side.flag("main.waited")? {
        return Ok(Finding::new(false, expected, "the suite got no status of the program"));
    }
    let (child, main) = (side.signed("child.code")?, side.signed("main.code")?);
    Ok(Finding::new(
        child == i64::from(CHILD_CODE) && main == i64::from(MAIN_CODE),
        expected,
        format!("the program got {child}, the suite {main}"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (child, main) = (side.text("child.reaper")?, side.text("main.reaper")?);
    let early = side.flag("child.reaped_early")?;
    if !early && !side.flag("orphan.reaped")? {
        return Err(Gap("an orphan that the sandbox process reaped meanwhile".to_owned()));
    }
    let when = if early { "before its parent waited" } else { "when its parent waited" };
    Ok(Finding::new(
        !early && child == "the program" && main == "the suite",
        "the child is released by the program, the program by the suite",
        format!("the child is released by {child} {when}, the program by {main}"),
    ))
}
