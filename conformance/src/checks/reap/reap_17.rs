//! REAP-17: a sandbox program that is not PID 1 adopts what is below it.

use podproof_witness::WITNESS_PATH;

use super::orphans::{self, Orphans};
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, joining};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-17",
    name: "sandbox_program_adopts_where_it_is_not_pid_1",
    level: Level::Should,
    statement: "A sandbox program that is not PID 1 of its namespace either becomes a subreaper or the pod refuses \
                process sharing.",
    source: "prctl(2) (PR_SET_CHILD_SUBREAPER); catatonit(1)",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox, and a second container that joins its PID namespace: its program forks a witness and then \
               becomes the sandbox program by execve(2), which is the witness's parent and not PID 1. The witness \
               makes an orphan, which is then let go.",
    inside: "The orphan's parent is the second sandbox program while it lives, not PID 1; no zombie is left.",
    kernel: "At its end the orphan's parent is the second sandbox program, which has become a subreaper, and that \
             program, or the kernel for it, releases it.",
    defects: &[("reap-17-assumes-init", "pause does not become a subreaper where it is not PID 1")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let sandbox = cell.sandbox("pause")?;
    let mut args = vec![WITNESS_PATH, "beside", "second"];
    args.extend(cell.pause_command());
    let bundle = joining(Bundle::witness("second").args(&args), sandbox.pid, true);
    let mut second = cell.container(&bundle)?;
    cell.await_sleep(&second)?;
    let numbers = process::ns_pids(second.pid);
    let parent = numbers.and_then(|numbers| numbers.last().copied());
    let orphans = Orphans::make(cell, &mut second, 1)?;
    let before = orphans::listed(cell, &mut second)?;
    orphans.release(cell, &mut second)?;
    let zombies = orphans::zombies(cell, &mut second)?;
    orphans.await_reaped(cell, cell.deadline(1.0))?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    if let Some(number) = parent {
        let source = format!("node: NSpid of /proc/{}/status", second.pid);
        facts::told(&mut evidence, "sandbox.number", number, &source);
    }
    if let Some(listed) = orphans.among(&before) {
        evidence.inside("orphan.parent", listed.ppid, "witness second: PPid in /proc before it was let go");
    }
    evidence.inside("zombies", zombies, "witness second: processes in state Z in /proc, after the exit");
    orphans.told_adoption(&mut evidence, &trace, second.pid);
    orphans.told_release(&mut evidence, &trace, second.pid);
    Ok(evidence)
}

fn needs_another_number(side: &Side<'_>) -> Result<u64, Gap> {
    match side.number("sandbox.number")? {
        1 => Err(Gap("a sandbox program that is not PID 1".to_owned())),
        number => Ok(number),
    }
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let number = needs_another_number(side)?;
    let (parent, zombies) = (side.number("orphan.parent")?, side.number("zombies")?);
    Ok(Finding::new(
        parent == number && zombies == 0,
        format!("the orphan is a child of the sandbox program, {number}, and no zombie is left of it"),
        format!("its parent is {parent}, and {zombies} zombies are left"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    needs_another_number(side)?;
    orphans::adopted_and_released(side, "the orphan", "the sandbox program that is above it")
}
