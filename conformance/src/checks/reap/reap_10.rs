//! REAP-10: a child that stops or continues is no work for the sandbox program.

use nix::sys::signal::Signal;
use podproof_ebpf::event::{EventKind, SignalResult};

use super::orphans::Orphans;
use super::standstill::{await_state, send, switches};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process::{self, boot_ns};
use crate::observe::trace::is;

/// How often the child is stopped and continued.
const ROUNDS: u32 = 5;
const SIGCHLD: u32 = 17;

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-10",
    name: "stopping_a_child_wakes_nobody",
    level: Level::Should,
    statement: "Stopping and continuing a child of the sandbox process causes no wake-up and no reaping.",
    source: "sigaction(2) (SA_NOCLDSTOP); Kubernetes build/pause",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and a container that joins its PID namespace. An orphan, which is the sandbox process's \
               child, is stopped by SIGSTOP and continued five times.",
    inside: "The sandbox process's count of context switches in /proc does not change, and the orphan lives.",
    kernel: "No SIGCHLD is generated for the sandbox process by the orphan's stops, unless with the result \
             'ignored', and the orphan is not released.",
    defects: &[("reap-10-told-of-stops", "pause takes SIGCHLD without SA_NOCLDSTOP")],
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
    let Some(orphan) = orphans.pids().first().copied() else {
        return Err(Obstacle::Trace("it lacks the birth of the orphan".to_owned()));
    };
    let sandbox = pod.sandbox.pid;
    let before = switches(sandbox)?;
    let began_ns = boot_ns();
    let mut stopped = 0;
    for _ in 0..ROUNDS {
        send(orphan, Signal::SIGSTOP)?;
        stopped += u32::from(await_state(cell, orphan, &['T']));
        send(orphan, Signal::SIGCONT)?;
        await_state(cell, orphan, &['S', 'R']);
    }
    let trace = cell.trace()?;
    let after = switches(sandbox)?;
    let lives = process::state(orphan).is_some_and(|state| state != 'Z');

    let mut evidence = Evidence::default();
    facts::told(&mut evidence, "stopped", stopped, "node: State of the orphan, after each SIGSTOP");
    let source = format!("node: context switches in /proc/{sandbox}/status, before and after");
    evidence.inside("switches", after.saturating_sub(before), source);
    evidence.inside("orphan.lives", lives, format!("node: State of /proc/{orphan}/status"));
    let told = trace
        .signals_to(sandbox)
        .filter(|sent| sent.signal == SIGCHLD && sent.event.time_ns >= began_ns)
        .filter(|sent| sent.result != SignalResult::Ignored)
        .count();
    evidence.kernel("sigchld", told, "tp_btf/signal_generate: for the sandbox process, up to the fence");
    let fates = orphans.fates(&trace);
    evidence.kernel("orphan.reaped", !fates.reaped.is_empty(), orphans.source_of_reaps(&trace));
    facts::keep_trace(&mut evidence, &trace, |kind| {
        orphans.concerns(kind, sandbox)
            || matches!(kind, EventKind::SignalGenerate { target, .. } if is(*target, orphan))
    });
    Ok(evidence)
}

fn needs_stops(side: &Side<'_>) -> Result<(), Gap> {
    let stopped = side.number("stopped")?;
    if stopped == u64::from(ROUNDS) {
        Ok(())
    } else {
        Err(Gap(format!("{ROUNDS} stops (there were {stopped})")))
    }
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    needs_stops(side)?;
    let (switches, lives) = (side.number("switches")?, side.flag("orphan.lives")?);
    let orphan = if lives { "lives" } else { "is gone" };
    Ok(Finding::new(
        switches == 0 && lives,
        "the sandbox process does not run, and the orphan lives",
        format!("{switches} context switches of the sandbox process, and the orphan {orphan}"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    needs_stops(side)?;
    let (told, reaped) = (side.number("sigchld")?, side.flag("orphan.reaped")?);
    let orphan = if reaped { "is released" } else { "is not released" };
    Ok(Finding::new(
        told == 0 && !reaped,
        "no SIGCHLD for the sandbox process, and the orphan is not released",
        format!("{told} SIGCHLD for the sandbox process, and the orphan {orphan}"),
    ))
}
