//! REAP-16: a sandbox program that is not PID 1 says so, and works.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use podproof_ebpf::event::EventKind;

use super::standstill::await_so;
use crate::adapter::oci::Caller;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, PAUSE_PATH, joining, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::is;

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-16",
    name: "sandbox_program_warns_when_it_is_not_pid_1",
    level: Level::Should,
    statement: "A sandbox program started without being PID 1 warns and still works.",
    source: "Kubernetes build/pause (the pause program)",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox, and a second container that joins its PID namespace and runs the sandbox program, which \
               is not PID 1 then. The runtime sends that one SIGTERM.",
    inside: "It has written to standard error, and exits with code 0 (its wait status, taken by the suite).",
    kernel: "It is executed with another number than 1 in its PID namespace, has not ended before the SIGTERM, and \
             exits with code 0 then.",
    defects: &[("reap-16-refuses", "pause exits with an error where it is not PID 1")],
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
    let bundle = joining(Bundle::witness("second").args(&cell.pause_command()), sandbox.pid, true);
    let (second, created) = cell.try_create(&bundle, &Caller::default())?;
    succeeded(&created)?;
    // A container's program has the standard error of the call that created it.
    let stderr = cell.output_of("create").with_extension("err");
    cell.start(&second)?;
    let pid = second.pid;
    let is_up = || {
        let is_pause = process::program(pid).as_deref() == Some(PAUSE_PATH);
        matches!((process::state(pid), is_pause), (Some('S'), true) | (None | Some('Z'), _))
    };
    await_so(cell, is_up);
    let began = process::state(pid).is_some_and(|state| state != 'Z');
    if began {
        succeeded(&cell.kill(&second.id, "TERM")?)?;
    }
    let status = cell.wait(pid, cell.deadline(5.0))?;
    let said = fs::read_to_string(&stderr).unwrap_or_default();
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let said = said.strip_prefix(&created.stderr).unwrap_or(&said).trim();
    evidence.inside("warning", said, "the sandbox program: its standard error");
    let source = format!("node: waitid(2) for {pid} by the suite");
    evidence.inside("lived", began, format!("node: State of /proc/{pid}/status, before SIGTERM"));
    evidence.inside("ended", status.is_some(), source.clone());
    if let Some(code) = status.and_then(|status| status.code()) {
        evidence.inside("exit.code", code, source.clone());
    }
    if let Some(signal) = status.and_then(|status| status.signal()) {
        evidence.inside("exit.signal", signal, source);
    }
    if let Some(exec) = trace.exec_of(pid, PAUSE_PATH) {
        evidence.kernel_if("inner.pid", exec.task.ns_pid(), exec.event.source.clone());
    }
    let (term, end) = (trace.signals_to(pid).find(|sent| sent.signal == 15), trace.end_of(pid));
    evidence.kernel("ended", end.is_some(), "tp_btf/sched_process_exit, up to the fence");
    if let Some(end) = end {
        let after = term.is_some_and(|term| term.event.seq < end.event.seq);
        evidence.kernel("ended.after_term", after, "tp_btf/signal_generate: SIGTERM");
        if end.status & 0x7f == 0 {
            evidence.kernel("exit.code", (end.status >> 8) & 0xff, end.event.source.clone());
        }
    }
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::Exec { task, .. } | EventKind::Exit { task, .. } => is(task.task, pid),
        EventKind::SignalGenerate { target, .. } => is(*target, pid),
        _ => false,
    });
    Ok(evidence)
}

const EXPECTED: &str = "it warns, lives, and exits with code 0 on SIGTERM";

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (warning, lived, ended) = (side.text("warning")?, side.flag("lived")?, side.flag("ended")?);
    let observed = match (lived, ended, side.signed("exit.code")) {
        (false, _, _) => "it ended at once".to_owned(),
        (_, false, _) => "it did not end".to_owned(),
        (_, _, Ok(code)) => format!("it exited with code {code}"),
        _ => "it was ended by a signal".to_owned(),
    };
    let is_good = lived && side.signed("exit.code") == Ok(0);
    Ok(if warning.is_empty() {
        Finding::new(false, EXPECTED, format!("{observed}, without a warning"))
    } else {
        Finding::new(is_good, EXPECTED, format!("{observed}, and said {warning:?}"))
    })
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let number = side.number("inner.pid")?;
    if number == 1 {
        return Err(Gap("a sandbox program that is not PID 1".to_owned()));
    }
    if !side.flag("ended")? {
        return Ok(Finding::new(false, EXPECTED, "it did not end"));
    }
    let (after, code) = (side.flag("ended.after_term")?, side.number("exit.code"));
    let when = if after { "after SIGTERM" } else { "before any SIGTERM" };
    let how = code.as_ref().map_or_else(|_| "by a signal".to_owned(), |code| format!("with code {code}"));
    Ok(Finding::new(after && code == Ok(0), EXPECTED, format!("as number {number} it ended {when}, {how}")))
}
