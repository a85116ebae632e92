//! REAP-01: the sandbox program reaps an orphan of the shared PID namespace.

use podproof_witness::Command;
use serde::Deserialize;

use super::orphans::{Orphans, Reaper};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

/// How long a sandbox program may leave a zombie.
const PATIENCE_SECONDS: f64 = 2.0;

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
    serial: false,
    observe,
    rules: Rules { inside, kernel },
};

/// A process as the witness lists it.
#[derive(Debug, Deserialize)]
struct Listed {
    pid: u32,
    ppid: u32,
    state: String,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &["a"])?;
    let Some(member) = pod.members.first_mut() else {
        return Err(Obstacle::Runtime("the pod has no container".to_owned()));
    };
    let timeout = cell.deadline(10.0);
    let orphans = Orphans::make(cell, member, 1)?;
    let before: Vec<Listed> = member.witness()?.ask_as(Command::Processes, timeout)?;
    orphans.release(cell, member)?;
    let patience = cell.deadline(PATIENCE_SECONDS);
    let timeout_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let zombies: u64 = member
        .witness()?
        .ask_as(Command::WaitZombies { at_most: 0, timeout_ms }, patience + cell.deadline(5.0))?;
    let after: Vec<Listed> = member.witness()?.ask_as(Command::Processes, timeout)?;
    orphans.await_reaped(cell, cell.deadline(1.0))?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let is_orphan = |listed: &&Listed| orphans.inner.contains(&listed.pid);
    if let Some(orphan) = before.iter().find(is_orphan) {
        evidence.inside("orphan.parent", orphan.ppid, "witness a: PPid in /proc before it was let go");
    }
    evidence.inside("zombies", zombies, "witness a: processes in state Z in /proc, after the exit");
    let left = after.iter().find(is_orphan).map_or("none", |orphan| orphan.state.as_str());
    evidence.inside("orphan.state", left, "witness a: the orphan's state letter in /proc, after the exit");

    let fates = orphans.fates(&trace);
    evidence.kernel("ended", fates.ended, "tp_btf/sched_process_exit");
    let reaper = fates.reaped.values().next();
    let by = match reaper {
        None => "nobody".to_owned(),
        Some(Reaper::Kernel) => "the kernel".to_owned(),
        Some(Reaper::Process(tgid)) if i32::try_from(*tgid) == Ok(pod.sandbox.pid) => "pause".to_owned(),
        Some(Reaper::Process(tgid)) => format!("process {tgid}"),
    };
    evidence.kernel("reaper", by, orphans.source_of_reaps(&trace));
    facts::keep_trace(&mut evidence, &trace, |kind| orphans.concerns(kind, pod.sandbox.pid));
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
    if side.number("ended")? != 1 {
        return Err(Gap("the end of the orphan".to_owned()));
    }
    let reaper = side.text("reaper")?;
    Ok(Finding::new(
        reaper == "pause" || reaper == "the kernel",
        "the orphan is reaped by pause, or by the kernel itself",
        format!("it is reaped by {reaper}"),
    ))
}
