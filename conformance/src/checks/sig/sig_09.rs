//! SIG-09: what a stop is to a program without handlers depends on whether it is PID 1.

use std::time::{Duration, Instant};

use podproof_ebpf::event::{EventKind, SignalResult};

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, joining, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::{Trace, is};

/// The grace period, in real time: no event ends it.
const GRACE: Duration = Duration::from_secs(5);
const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-09",
    name: "grace_is_used_up_by_pid_1_only",
    level: Level::Must,
    statement: "Same handler-less program, stop with 5 s grace: with a private PID namespace it lasts the whole \
                grace, with process sharing it dies at once.",
    source: "pid_namespaces(7); signal(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and two containers with the same program, which has no handler. One has a PID namespace of \
               its own, the other one joins the sandbox's. Each is stopped as an engine does it: the runtime sends \
               SIGTERM, and SIGKILL when the program has not ended five seconds later.",
    inside: "The wait status of each, taken by the suite as its reaper, and how long it took: killed after the grace \
             period without sharing, ended by SIGTERM within it with sharing.",
    kernel: "SIGTERM is generated for both and ignored by the first one only, which ends by signal 9 after the \
             second signal; the other one ends by 15 before the grace is over (the status of sched_process_exit).",
    defects: &[("sig-09-escalates", "kill sends SIGKILL after a signal that the program has no handler for")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::First,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let sandbox = cell.sandbox("pause")?;
    let off = cell.container(&joining(Bundle::witness("off"), sandbox.pid, false))?;
    let on = cell.container(&joining(Bundle::witness("on"), sandbox.pid, true))?;
    let mut evidence = Evidence::default();
    for container in [&on, &off] {
        stop(cell, container, &mut evidence)?;
    }
    let trace = cell.trace()?;
    for container in [&on, &off] {
        kernel_facts(&mut evidence, &trace, container);
    }
    let pids = [on.pid, off.pid];
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::SignalGenerate { target, .. } => pids.iter().any(|pid| is(*target, *pid)),
        EventKind::Exit { task, .. } => pids.iter().any(|pid| is(task.task, *pid)),
        _ => false,
    });
    Ok(evidence)
}

/// SIGTERM, and SIGKILL when the grace is over.
fn stop(cell: &mut Cell<'_>, container: &Container, evidence: &mut Evidence) -> Result<(), Obstacle> {
    succeeded(&cell.kill(&container.id, "TERM")?)?;
    let began = Instant::now();
    let mut status = cell.wait(container.pid, GRACE)?;
    let lasted = status.is_none();
    if lasted {
        succeeded(&cell.kill(&container.id, "KILL")?)?;
        status = cell.wait(container.pid, cell.deadline(5.0))?;
    }
    let after_ms = millis(began.elapsed());
    let name = &container.name;
    let source = format!("node: waitid(2) for {} by the suite", container.pid);
    evidence.inside(&format!("{name}.lasted"), lasted, format!("{source}, until the grace was over"));
    evidence.inside(&format!("{name}.after_ms"), after_ms, source.clone());
    let signal = status.and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status));
    evidence.inside(&format!("{name}.signal"), signal.map_or(-1, i64::from), source);
    Ok(())
}

fn kernel_facts(evidence: &mut Evidence, trace: &Trace, container: &Container) {
    let name = &container.name;
    let (pid, source) = (container.pid, "tp_btf/signal_generate");
    let Some(term) = trace.signals_to(pid).find(|sent| sent.signal == SIGTERM) else { return };
    let ignored = term.result == SignalResult::Ignored;
    evidence.kernel(&format!("{name}.term.ignored"), ignored, source);
    let Some(end) = trace.end_of(pid) else { return };
    let source = end.event.source.clone();
    evidence.kernel(&format!("{name}.signal"), end.status & 0x7f, source.clone());
    let after_ms = end.event.time_ns.saturating_sub(term.event.time_ns) / 1_000_000;
    evidence.kernel(&format!("{name}.term_to_end_ms"), after_ms, source);
    let kill = trace.signals_to(pid).find(|sent| sent.signal == SIGKILL);
    let kill_ms = kill.map(|kill| kill.event.time_ns.saturating_sub(term.event.time_ns) / 1_000_000);
    let source = "tp_btf/signal_generate: from SIGTERM to SIGKILL";
    evidence.kernel_if(&format!("{name}.term_to_kill_ms"), kill_ms, source);
}

const EXPECTED: &str =
    "without sharing SIGKILL ends it after the grace, with sharing SIGTERM ends it at once";

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (off, on) = (side.signed("off.signal")?, side.signed("on.signal")?);
    let (off_lasted, on_lasted) = (side.flag("off.lasted")?, side.flag("on.lasted")?);
    let (off_ms, on_ms) = (side.number("off.after_ms")?, side.number("on.after_ms")?);
    Ok(Finding::new(
        off_lasted && !on_lasted && off == i64::from(SIGKILL) && on == i64::from(SIGTERM),
        EXPECTED,
        format!(
            "without sharing ended by signal {off} after {off_ms} ms, with sharing by {on} after {on_ms} ms"
        ),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (off_ignored, on_ignored) = (side.flag("off.term.ignored")?, side.flag("on.term.ignored")?);
    let (off, on) = (side.number("off.signal")?, side.number("on.signal")?);
    let (off_ms, on_ms) = (side.number("off.term_to_end_ms")?, side.number("on.term_to_end_ms")?);
    // Of an engine's clock and the kernel's; a millisecond of rounding is none of the runtime's.
    let kill_ms = side.number("off.term_to_kill_ms").unwrap_or(0) + 1;
    let grace_ms = millis(GRACE);
    let kept = off_ignored && off == u64::from(SIGKILL) && off_ms + 1 >= grace_ms && kill_ms >= grace_ms;
    let ended = !on_ignored && on == u64::from(SIGTERM) && on_ms < grace_ms;
    let was = |ignored| if ignored { "ignored" } else { "taken" };
    Ok(Finding::new(
        kept && ended,
        EXPECTED,
        format!(
            "without sharing SIGTERM is {} and signal {off} ends it after {off_ms} ms, with sharing it is {} and \
             signal {on} ends it after {on_ms} ms",
            was(off_ignored),
            was(on_ignored)
        ),
    ))
}
