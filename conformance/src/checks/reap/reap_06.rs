//! REAP-06: the control experiment: zombies stay without process sharing and go with it.

use podproof_witness::Command;

use super::orphans::Orphans;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, joining};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const ORPHANS: u32 = 5;
/// How long a sandbox program may leave a zombie.
const PATIENCE_SECONDS: f64 = 2.0;

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-06",
    name: "zombies_stay_without_sharing_and_go_with_it",
    level: Level::Must,
    statement: "Control experiment: without process sharing a non-reaping PID 1 accumulates zombies, and with it \
                none remain.",
    source: "pid_namespaces(7); Kubernetes share-process-namespace",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and two containers with the same program, which reaps nothing. One has a PID namespace of \
               its own, the other one joins the sandbox's. Each makes five orphans and lets them go.",
    inside: "Five processes in state Z in /proc without sharing, none with it, while both programs run.",
    kernel: "All ten orphans end; none of the first five is released, all of the others are.",
    defects: &[(
        "reap-06-never-shares",
        "a container that asks for the sandbox's PID namespace gets a new one",
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
    let sandbox = cell.sandbox("pause")?;
    let mut off = cell.container(&joining(Bundle::witness("off"), sandbox.pid, false))?;
    let mut on = cell.container(&joining(Bundle::witness("on"), sandbox.pid, true))?;
    let patience = cell.deadline(PATIENCE_SECONDS);
    let timeout_ms = millis(patience);

    let orphans_off = Orphans::make(cell, &mut off, ORPHANS)?;
    orphans_off.release(cell, &mut off)?;
    let orphans_on = Orphans::make(cell, &mut on, ORPHANS)?;
    orphans_on.release(cell, &mut on)?;
    let without = ask(cell, &mut off, Command::WaitZombiesReach { at_least: ORPHANS, timeout_ms })?;
    let with = ask(cell, &mut on, Command::WaitZombies { at_most: 0, timeout_ms })?;
    orphans_on.await_reaped(cell, cell.deadline(1.0))?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    for (name, zombies, orphans) in [("off", without, &orphans_off), ("on", with, &orphans_on)] {
        let source = format!("witness {name}: processes in state Z in /proc");
        evidence.inside(&format!("zombies.{name}"), zombies, source);
        let fates = orphans.fates(&trace);
        evidence.kernel(&format!("ended.{name}"), fates.ended, "tp_btf/sched_process_exit");
        let source = orphans.source_of_reaps(&trace);
        evidence.kernel(&format!("reaped.{name}"), fates.reaped.len(), source);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        orphans_off.concerns(kind, off.outer_pid()) || orphans_on.concerns(kind, sandbox.pid)
    });
    Ok(evidence)
}

fn ask(cell: &Cell<'_>, container: &mut Container, command: Command) -> Result<u64, Obstacle> {
    let timeout = cell.deadline(PATIENCE_SECONDS + 5.0);
    Ok(container.witness()?.ask_as(command, timeout)?)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (off, on) = (side.number("zombies.off")?, side.number("zombies.on")?);
    Ok(Finding::new(
        off == u64::from(ORPHANS) && on == 0,
        format!("{ORPHANS} zombies without sharing, none with it"),
        format!("{off} zombies without sharing, {on} with it"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    for key in ["ended.off", "ended.on"] {
        let ended = side.number(key)?;
        if ended != u64::from(ORPHANS) {
            return Err(Gap(format!("{key}: {ORPHANS} ends (there are {ended})")));
        }
    }
    let (off, on) = (side.number("reaped.off")?, side.number("reaped.on")?);
    Ok(Finding::new(
        off == 0 && on == u64::from(ORPHANS),
        format!("none released without sharing, {ORPHANS} with it"),
        format!("{off} released without sharing, {on} with it"),
    ))
}
