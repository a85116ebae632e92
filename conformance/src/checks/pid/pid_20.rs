//! PID-20: SIGHUP to PID 1 of a pod that shares its PIDs reaches the sandbox program only, which survives.

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::is;
use crate::observe::witness::WitnessError;

const SIGHUP: u32 = 1;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-20",
    name: "sighup_to_pid_1_reaches_the_sandbox_only",
    level: Level::Must,
    statement: "kill -HUP 1 in a process-sharing pod reaches the sandbox process, which survives, and no application \
                process.",
    source: "Kubernetes tasks/configure-pod-container/share-process-namespace",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Podrt],
    scenario: "A pod that shares its PIDs, with the containers a and b, whose programs catch all signals. A child of a's \
               program sends SIGHUP to PID 1.",
    inside: "Neither program catches SIGHUP, and both go on, which they could not without PID 1.",
    kernel: "SIGHUP is generated for the sandbox program and for nobody else (signal_generate), and it has not ended up to \
             the fence (sched_process_exit).",
    defects: &[("pid-20-hup-exits", "the sandbox program exits on SIGHUP")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &["a", "b"])?;
    for member in &mut pod.members {
        pods::catch_all(cell, member)?;
    }
    let [a, b] = exactly(&mut pod.members)?;
    let timeout = cell.deadline(5.0);
    let mut evidence = Evidence::default();
    match a.witness()?.ask(Command::SignalFromChild { pid: 1, signal: 1 }, timeout) {
        Ok(errno) => evidence.inside("kill.errno", errno, "witness a: kill(2) by its child"),
        // With PID 1 everything in its namespace ends.
        Err(WitnessError::Gone { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    for container in [&mut *a, &mut *b] {
        let caught = pods::caught(container.witness()?, 1, 300)?;
        // With PID 1 everything in its namespace ends.
        let goes_on = caught.is_some() && !container.witness()?.wait_gone(cell.deadline(0.2));
        let name = container.name.clone();
        evidence.inside(
            &format!("goes_on.{name}"),
            goes_on,
            format!("witness {name}: it answers, and stays"),
        );
        let hups = caught.map(|list| list.into_iter().filter(|signal| *signal == SIGHUP).collect::<Vec<_>>());
        pods::told_caught(&mut evidence, &name, hups);
    }
    let trace = cell.trace()?;
    let hups: Vec<bool> = trace
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::SignalGenerate { signal: SIGHUP, target, .. } => Some(is(*target, pod.sandbox.pid)),
            _ => None,
        })
        .collect();
    evidence.kernel(
        "hups.pause",
        hups.iter().filter(|is_pause| **is_pause).count(),
        "tp_btf/signal_generate",
    );
    evidence.kernel(
        "hups.others",
        hups.iter().filter(|is_pause| !**is_pause).count(),
        "tp_btf/signal_generate",
    );
    let ended = trace.end_of(pod.sandbox.pid).is_some();
    evidence.kernel("pause.ended", ended, "tp_btf/sched_process_exit, up to the fence");
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (a, b) = (side.numbers("caught.a")?, side.numbers("caught.b")?);
    let go_on = side.flag("goes_on.a")? && side.flag("goes_on.b")?;
    Ok(Finding::new(
        a.is_empty() && b.is_empty() && go_on,
        "neither program catches SIGHUP, and both go on",
        format!("a caught {a:?}, b caught {b:?}; both go on: {go_on}"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (pause, others) = (side.number("hups.pause")?, side.number("hups.others")?);
    let ended = side.flag("pause.ended")?;
    if pause == 0 {
        return Err(Gap("a SIGHUP to the sandbox program".to_owned()));
    }
    Ok(Finding::new(
        others == 0 && !ended,
        "SIGHUP goes to the sandbox program alone, which does not end",
        format!("{pause} to it, {others} to others; it ended: {ended}"),
    ))
}
