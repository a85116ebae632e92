//! REAP-01: the sandbox program reaps an orphan of the shared PID namespace.

use super::orphans::{self, Orphans};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-01",
    name: "sandbox_reaps_an_orphan",
    level: Level::Must,
    statement: "The sandbox process reaps an orphan that dies in the shared PID namespace.",
    source: "Kubernetes build/pause (the pause program)",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and a container that joins its PID namespace. The container's program makes an orphan, \
               which is then let go and exits.",
    inside: "The orphan's parent is PID 1 while it lives; after its exit /proc has no entry for it and none in \
             state Z.",
    kernel: "The orphan ends (sched_process_exit) and is released by the sandbox process (release_task, or the \
             return of its wait call), or by the kernel itself where that process ignores SIGCHLD.",
    defects: &[("reap-01-never-reaps", "pause does nothing on SIGCHLD")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &["a"])?;
    let [member] = exactly(&mut pod.members)?;
    let orphans = Orphans::make(cell, member, 1)?;
    let before = orphans::listed(cell, member)?;
    orphans.release(cell, member)?;
    let zombies = orphans::zombies(cell, member)?;
    let after = orphans::listed(cell, member)?;
    orphans.await_reaped(cell, cell.deadline(1.0))?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    if let Some(orphan) = orphans.among(&before) {
        evidence.inside("orphan.parent", orphan.ppid, "witness a: PPid in /proc before it was let go");
    }
    evidence.inside("zombies", zombies, "witness a: processes in state Z in /proc, after the exit");
    let left = orphans.among(&after).map_or_else(|| "none".to_owned(), |orphan| orphan.state.to_string());
    evidence.inside("orphan.state", left, "witness a: the orphan's state letter in /proc, after the exit");
    orphans.told_release(&mut evidence, &trace, pod.sandbox.pid);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let parent = side.number("orphan.parent")?;
    if parent != 1 {
        return Err(Gap(format!("an orphan that PID 1 adopted (its parent is {parent})")));
    }
    let (zombies, state) = (side.number("zombies")?, side.text("orphan.state")?);
    Ok(Finding::new(
        zombies == 0 && state == "none",
        "no zombie is left of the orphan",
        format!("{zombies} zombies are listed, and the orphan's state is {state}"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    orphans::released(side, "the orphan")
}
