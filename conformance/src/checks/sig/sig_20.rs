//! SIG-20: what a signal is to a frozen container.

use podproof_ebpf::event::{EventKind, SignalResult};
use podproof_witness::{CaughtSignal, Command};

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::is;

const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;
/// How long the end may take after SIGKILL.
const PATIENCE_SECONDS: f64 = 2.0;

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-20",
    name: "a_frozen_container_queues_term_and_dies_by_kill",
    level: Level::Must,
    statement: "A frozen container queues SIGTERM until thaw but dies on SIGKILL at once (cgroup v2).",
    source: "kernel cgroup-v2.rst, cgroup.freeze",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container whose program catches all signals is paused by the runtime, sent SIGTERM, and resumed. \
               Then it is paused again and sent SIGKILL, and not resumed.",
    inside: "SIGTERM is pending while it is paused and caught after the resume; after SIGKILL the suite gets the \
             program's wait status, by signal 9, within two seconds.",
    kernel: "SIGTERM is generated and delivered, and taken by the program only after its cgroup is thawed; it ends \
             by signal 9 within two seconds of the runtime's call to send SIGKILL.",
    defects: &[("sig-20-waits-for-the-thaw", "kill KILL of a paused container is kept until it is resumed")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut container = cell.container(&Bundle::witness("a"))?;
    let (id, pid) = (container.id.clone(), container.outer_pid());
    let timeout = cell.deadline(5.0);
    container.witness()?.ask(Command::CatchAllSignals, timeout)?;
    pause(cell, &id)?;
    succeeded(&cell.kill(&id, "TERM")?)?;
    let pending = process::status_line(pid, "ShdPnd").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    let frozen = cell.trace()?;
    succeeded(&cell.call(&["resume", &id])?)?;
    let timeout_ms = millis(cell.deadline(2.0));
    let caught = Command::CaughtSignals { at_least: 1, timeout_ms };
    let caught: Vec<CaughtSignal> = container.witness()?.ask_as(caught, timeout)?;
    pause(cell, &id)?;
    let kill = cell.kill(&id, "KILL")?;
    let patience = cell.deadline(PATIENCE_SECONDS);
    let status = cell.wait(container.pid, patience)?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    if let Some(pending) = pending {
        let is_pending = pending & 1 << (SIGTERM - 1) != 0;
        evidence.inside(
            "term.pending",
            is_pending,
            format!("node: ShdPnd of /proc/{pid}/status, while paused"),
        );
    }
    let caught: Vec<u32> = caught.into_iter().map(|caught| caught.signal).collect();
    evidence.inside("caught", caught, "witness a: its handlers, after the resume");
    let signal = status.and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status));
    let source = format!("node: waitid(2) for {} by the suite, after SIGKILL while paused", container.pid);
    evidence.inside("end.signal", signal.unwrap_or(0), source);
    let term = trace.signals_to(pid).find(|sent| sent.signal == SIGTERM);
    if let Some(term) = term {
        let delivered = term.result == SignalResult::Delivered;
        evidence.kernel("term.delivered", delivered, term.event.source.clone());
    }
    let taken = frozen.events.iter().any(|event| is_taken(&event.kind) && is(event.current, pid));
    evidence.kernel(
        "term.taken_while_paused",
        taken,
        "tp_btf/signal_deliver, up to a fence before the resume",
    );
    let end = trace.end_of(pid);
    let killed = end.is_some_and(|end| end.status & 0x7f == SIGKILL);
    evidence.kernel("killed", killed, "tp_btf/sched_process_exit: by signal 9, up to the fence");
    if let Some(end) = end {
        let after_ms = end.event.time_ns.saturating_sub(kill.started_ns) / 1_000_000;
        evidence.kernel(
            "killed.after_ms",
            after_ms,
            "tp_btf/sched_process_exit: since the runtime was called",
        );
    }
    let limit_ms = millis(patience + cell.deadline(1.0));
    evidence.kernel(
        "limit.ms",
        limit_ms,
        "the suite: two seconds and one for the call, scaled for this machine",
    );
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::CgroupFreeze { .. } | EventKind::CgroupFrozen { .. } => true,
        EventKind::SignalDeliver { signal, .. } => *signal == SIGTERM,
        EventKind::SignalGenerate { target, .. } => is(*target, pid),
        EventKind::Exit { task, .. } => is(task.task, pid),
        _ => false,
    });
    Ok(evidence)
}

/// `pause`, which no specification asks for.
fn pause(cell: &mut Cell<'_>, id: &str) -> Result<(), Obstacle> {
    let call = cell.call(&["pause", id])?;
    if call.ok() {
        Ok(())
    } else {
        Err(Obstacle::Skip(format!("needs a runtime that pauses: {}", call.summary())))
    }
}

fn is_taken(kind: &EventKind) -> bool {
    matches!(kind, EventKind::SignalDeliver { signal: SIGTERM, .. })
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (pending, caught) = (side.flag("term.pending")?, side.numbers("caught")?);
    let signal = side.number("end.signal")?;
    let queued = if pending { "pending" } else { "not pending" };
    let end = if signal == 0 { "does not end".to_owned() } else { format!("ends by signal {signal}") };
    Ok(Finding::new(
        pending && caught == [u64::from(SIGTERM)] && signal == u64::from(SIGKILL),
        "SIGTERM waits for the resume, SIGKILL ends the paused program",
        format!("while paused SIGTERM is {queued}, after the resume {caught:?} came; after SIGKILL it {end}"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (delivered, taken) = (side.flag("term.delivered")?, side.flag("term.taken_while_paused")?);
    let expected = "SIGTERM is queued and not taken while paused; SIGKILL ends the paused program";
    if !side.flag("killed")? {
        return Ok(Finding::new(false, expected, "the paused program is not ended by SIGKILL"));
    }
    let (after, limit) = (side.number("killed.after_ms")?, side.number("limit.ms")?);
    let was = if taken { "taken while paused" } else { "not taken while paused" };
    Ok(Finding::new(
        delivered && !taken && after <= limit,
        expected,
        format!("SIGTERM was {was}, SIGKILL ended it after {after} ms"),
    ))
}
