//! SIG-01: the sandbox program ends with code 0 on SIGTERM.

use podproof_ebpf::event::{EventKind, SignalResult};

use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, succeeded};
use crate::checks::{Check, Scene, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const SIGTERM: u32 = 15;

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-01",
    name: "sandbox_ends_on_sigterm",
    level: Level::Must,
    statement: "The sandbox process exits with code 0 on SIGTERM.",
    source: "Kubernetes build/pause (the pause program)",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox runs; the runtime sends it SIGTERM.",
    inside: "Its wait status, taken by the suite as its reaper.",
    kernel: "SIGTERM generated and not ignored, no SIGKILL before the end, and the code of its exit.",
    defects: &[("sig-01-deaf-pause", "pause has no handler for SIGTERM, which PID 1 then ignores")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    serial: false,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let sandbox = cell.sandbox("pause")?;
    succeeded(&cell.kill(&sandbox.id, "TERM")?)?;
    let status = cell.wait(sandbox.pid, cell.deadline(5.0))?;
    let trace = cell.trace()?;

    let term = trace.signals_to(sandbox.pid).find(|sent| sent.signal == SIGTERM);
    if term.is_none() {
        // The runtime's fault, and no verdict on the sandbox program.
        return Err(Obstacle::Runtime("the runtime's kill sent no SIGTERM to the sandbox".to_owned()));
    }
    let mut evidence = Evidence::default();
    let source = "node: waitid(2) by the suite";
    evidence.inside("ended", status.is_some(), source);
    if let Some(code) = status.and_then(|status| status.code()) {
        evidence.inside("exit.code", code, source);
    }
    if let Some(term) = term {
        evidence.kernel("term.ignored", term.result == SignalResult::Ignored, term.event.source.clone());
    }
    let end = trace.end_of(sandbox.pid);
    evidence.kernel("ended", end.is_some(), "tp_btf/sched_process_exit, up to the fence");
    if let Some(end) = end {
        let before =
            |sent: &crate::observe::trace::Sent<'_>| sent.signal == 9 && sent.event.seq < end.event.seq;
        evidence.kernel(
            "killed",
            trace.signals_to(sandbox.pid).any(|sent| before(&sent)),
            "tp_btf/signal_generate",
        );
        if end.status & 0x7f == 0 {
            evidence.kernel("exit.code", (end.status >> 8) & 0xff, end.event.source.clone());
        }
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(
            kind,
            EventKind::SignalGenerate { .. } | EventKind::SignalDeliver { .. } | EventKind::Exit { .. }
        )
    });
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let expected = "the sandbox exits with code 0 on SIGTERM";
    if !side.flag("ended")? {
        return Ok(Finding::new(false, expected, "it did not end"));
    }
    let Ok(code) = side.signed("exit.code") else {
        return Ok(Finding::new(false, expected, "it was ended by a signal"));
    };
    Ok(Finding::new(code == 0, expected, format!("it exited with code {code}")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let expected = "SIGTERM is taken and the process exits by itself with code 0";
    if side.flag("term.ignored")? {
        return Ok(Finding::new(false, expected, "SIGTERM was ignored"));
    }
    let ended = inside(side)?;
    if ended.holds && side.flag("killed")? {
        return Ok(Finding::new(false, expected, "a SIGKILL came before the end"));
    }
    Ok(Finding { expected: expected.to_owned(), ..ended })
}
