//! REAP-13: what an exec session leaves behind is the pod's to reap.

use podproof_witness::{Command, WITNESS_PATH};

use super::orphans::{self, Orphans};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly, succeeded};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const SIGKILL: i32 = 9;

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-13",
    name: "orphans_of_an_exec_are_reaped_too",
    level: Level::Must,
    statement: "Orphans created by exec sessions are adopted and reaped like the others.",
    source: "pid_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and a container that joins its PID namespace. The runtime executes a program in the \
               container, which starts a process in a session of its own and exits. Then that process is killed.",
    inside: "Its parent is PID 1 while it lives, and no zombie is left of it.",
    kernel: "It ends, and the sandbox process, or the kernel for it, releases it.",
    defects: &[(
        "reap-13-keeps-the-orphans",
        "an exec session has a subreaper of its own, which stays and reaps nothing",
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
    let mut pod = cell.pod(true, &["a"])?;
    let [member] = exactly(&mut pod.members)?;
    let timeout = cell.deadline(10.0);
    let exec = cell.call(&["exec", &member.id, WITNESS_PATH, "orphan"])?;
    succeeded(&exec)?;
    let printed = exec.stdout.trim();
    let inner: i32 = printed.parse().map_err(|_text| {
        Obstacle::Runtime(format!("`{}` printed {printed:?} instead of a number", exec.line))
    })?;
    let orphan = Orphans::found(&cell.trace()?, member, vec![inner.unsigned_abs()])?;
    let before = orphans::listed(cell, member)?;
    member.witness()?.ask(Command::SignalFromChild { pid: inner, signal: SIGKILL }, timeout)?;
    orphan.await_ended(cell)?;
    let zombies = orphans::zombies(cell, member)?;
    orphan.await_reaped(cell, cell.deadline(1.0))?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    if let Some(listed) = orphan.among(&before) {
        evidence.inside(
            "orphan.parent",
            listed.ppid,
            "witness a: PPid in /proc, after the exec had returned",
        );
    }
    evidence.inside("zombies", zombies, "witness a: processes in state Z in /proc, after its end");
    orphan.told_release(&mut evidence, &trace, pod.sandbox.pid);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (parent, zombies) = (side.number("orphan.parent")?, side.number("zombies")?);
    Ok(Finding::new(
        parent == 1 && zombies == 0,
        "the orphan of an exec is a child of PID 1, and no zombie is left of it",
        format!("its parent is {parent}, and {zombies} zombies are left"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    orphans::released(side, "the orphan of an exec")
}
