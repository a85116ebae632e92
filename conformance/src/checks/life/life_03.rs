//! LIFE-03: a container whose process has ended is reported stopped.

use std::time::Duration;

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process::{self, boot_ns};

const REQUIREMENT: Requirement = Requirement {
    id: "LIFE-03",
    name: "an_ended_container_is_stopped",
    level: Level::Must,
    statement: "When the process ends the status becomes stopped within a second.",
    source: "runtime-spec runtime.md#state",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container's program exits by itself. First nobody reaps it: it is a zombie while `state` is asked \
               until it says stopped. Then the suite reaps it and asks once more.",
    inside: "The connection of the witness ends, and /proc shows a zombie; the time from there to the question \
             that `state` answers with stopped is at most a second (more on a slow machine).",
    kernel: "The exit of the process, and its release after that answer (sched_process_exit, release_task or \
             wait); the time from the exit to the same question.",
    defects: &[
        ("life-03-cached-status", "state keeps giving the first status running that it found"),
        (
            "life-03-running-until-reaped",
            "a process that has ended counts as running as long as it is a zombie",
        ),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// The answer that ended the questions.
struct Answer {
    status: String,
    asked_ns: u64,
    answered_ns: u64,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut container = cell.container(&Bundle::witness("a"))?;
    let limit = cell.deadline(1.0);
    let before = cell.state(&container.id)?.status;
    cell.keep_zombies(true)?;
    container.witness()?.tell(Command::Exit { code: 0 })?;
    let gone = container.witness()?.wait_gone(cell.deadline(5.0));
    let gone_ns = boot_ns();
    let answer = ask_until_stopped(cell, &container.id, gone_ns + nanos(limit))?;
    let letter = process::state(container.pid);
    cell.keep_zombies(false)?;
    let reaped = cell.wait(container.pid, cell.deadline(5.0))?.is_some();
    let after = cell.state(&container.id)?.status;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    evidence.inside("ended", gone && reaped, "witness a: end of its connection; waitid(2) by the suite");
    evidence.inside("zombie", letter == Some('Z'), "node: /proc/PID/status after the answer");
    let late = |since: u64| millis(answer.asked_ns.saturating_sub(since));
    let source = "runtime: call of state, against the end of the connection";
    evidence.inside("asked_after_end_ms", late(gone_ns), source);
    let end = trace.end_of(container.pid);
    evidence.kernel("ended", end.is_some() && reaped, "tp_btf/sched_process_exit; waitid(2) by the suite");
    if let Some(end) = end {
        let source = format!("{} against CLOCK_BOOTTIME of the call of state", end.event.source);
        evidence.kernel("asked_after_exit_ms", late(end.event.time_ns), source);
    }
    if let Some((reap, _)) = u32::try_from(container.pid).ok().and_then(|pid| trace.reap_of(pid)) {
        evidence.kernel("zombie", reap.time_ns >= answer.answered_ns, reap.source.clone());
    }
    let source = "suite: one second, scaled for this machine";
    facts::told(&mut evidence, "limit_ms", millis(nanos(limit)), source);
    for (key, status) in [("before", before), ("of_zombie", answer.status), ("after_reap", after)] {
        facts::told(&mut evidence, &format!("state.{key}"), status, "runtime: state");
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Exit { .. } | EventKind::ZombieStart { .. } | EventKind::Reap { .. })
    });
    Ok(evidence)
}

/// Asks for the state until it says stopped, or a question put after `until_ns` gets another answer.
fn ask_until_stopped(cell: &mut Cell<'_>, id: &str, until_ns: u64) -> Result<Answer, Obstacle> {
    loop {
        let asked_ns = boot_ns();
        let status = cell.state(id)?.status;
        if status == "stopped" || asked_ns > until_ns {
            return Ok(Answer { status, asked_ns, answered_ns: boot_ns() });
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn millis(ns: u64) -> u64 {
    ns / 1_000_000
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    finding(side, side.number("asked_after_end_ms")?)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    finding(side, side.number("asked_after_exit_ms")?)
}

fn finding(side: &Side<'_>, after_ms: u64) -> Result<Finding, Gap> {
    if !side.flag("ended")? || !side.flag("zombie")? || side.text("state.before")? != "running" {
        return Err(Gap("a running container that ended and was a zombie while it was asked for".to_owned()));
    }
    let (limit, zombie, reaped) =
        (side.number("limit_ms")?, side.text("state.of_zombie")?, side.text("state.after_reap")?);
    // It may have become stopped in time and not been asked then.
    if zombie == "stopped" && after_ms > limit {
        return Err(Gap(format!("an answer to a question asked within {limit} ms")));
    }
    let holds = zombie == "stopped" && reaped == "stopped";
    Ok(Finding::new(
        holds,
        format!("stopped when asked {limit} ms after the end, reaped or not"),
        format!("{zombie} when asked {after_ms} ms after the end, {reaped} after the reap"),
    ))
}
