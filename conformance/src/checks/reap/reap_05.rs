//! REAP-05: a daemon becomes the sandbox program's child, and is reaped.

use podproof_witness::Command;

use super::orphans::{self, Orphans};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-05",
    name: "a_daemon_is_adopted_and_reaped",
    level: Level::Must,
    statement: "A daemon that double-forks is adopted and reaped when it ends.",
    source: "pid_namespaces(7); daemon(7); Kubernetes build/pause",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and a container that joins its PID namespace. The container's program makes a daemon: it \
               forks, the child calls setsid(2), forks and exits. Then the daemon ends.",
    inside: "The daemon's parent is PID 1 while it lives; after its end no zombie is listed.",
    kernel: "At its end the daemon's parent is the sandbox process, which is not the one that it was born with, \
             and the sandbox process, or the kernel for it, releases the daemon.",
    defects: &[("reap-05-own-group", "pause reaps children of its own process group only")],
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
    let daemon = Orphans::made_by(cell, member, Command::MakeDaemons { count: 1 })?;
    let before = orphans::listed(cell, member)?;
    daemon.release(cell, member)?;
    let zombies = orphans::zombies(cell, member)?;
    daemon.await_reaped(cell, cell.deadline(1.0))?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    if let Some(listed) = daemon.among(&before) {
        evidence.inside("daemon.parent", listed.ppid, "witness a: PPid in /proc before its end");
    }
    evidence.inside("zombies", zombies, "witness a: processes in state Z in /proc, after its end");
    daemon.told_adoption(&mut evidence, &trace, pod.sandbox.pid);
    daemon.told_release(&mut evidence, &trace, pod.sandbox.pid);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (parent, zombies) = (side.number("daemon.parent")?, side.number("zombies")?);
    Ok(Finding::new(
        parent == 1 && zombies == 0,
        "the daemon is a child of PID 1, and no zombie is left of it",
        format!("its parent is {parent}, and {zombies} zombies are left"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    orphans::adopted_and_released(side, "the daemon", "the sandbox process")
}
