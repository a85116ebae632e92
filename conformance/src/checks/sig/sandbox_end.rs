//! The end of the sandbox program by a signal that it has to take.

use podproof_ebpf::event::{EventKind, SignalResult};

use crate::cell::{Cell, Obstacle, succeeded};
use crate::checks::facts;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::Finding;
use crate::observe::trace::Sent;

const SIGKILL: u32 = 9;

/// Has the runtime send a sandbox the signal, and looks how that ends.
pub(super) fn observe(cell: &mut Cell<'_>, name: &str, number: u32) -> Result<Evidence, Obstacle> {
    let sandbox = cell.sandbox("pause")?;
    succeeded(&cell.kill(&sandbox.id, name)?)?;
    let status = cell.wait(sandbox.pid, cell.deadline(5.0))?;
    let trace = cell.trace()?;

    let Some(sent) = trace.signals_to(sandbox.pid).find(|sent| sent.signal == number) else {
        // The runtime's fault, and no verdict on the sandbox program.
        return Err(Obstacle::Runtime(format!("the runtime's kill sent no SIG{name} to the sandbox")));
    };
    let mut evidence = Evidence::default();
    let source = "node: waitid(2) by the suite";
    evidence.inside("ended", status.is_some(), source);
    if let Some(code) = status.and_then(|status| status.code()) {
        evidence.inside("exit.code", code, source);
    }
    evidence.kernel("signal.ignored", sent.result == SignalResult::Ignored, sent.event.source.clone());
    let end = trace.end_of(sandbox.pid);
    evidence.kernel("ended", end.is_some(), "tp_btf/sched_process_exit, up to the fence");
    if let Some(end) = end {
        let before = |sent: &Sent<'_>| sent.signal == SIGKILL && sent.event.seq < end.event.seq;
        let killed = trace.signals_to(sandbox.pid).any(|sent| before(&sent));
        evidence.kernel("killed", killed, "tp_btf/signal_generate");
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

/// What its wait status shows.
pub(super) fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let expected = "the sandbox exits with code 0 on the signal";
    if !side.flag("ended")? {
        return Ok(Finding::new(false, expected, "it did not end"));
    }
    let Ok(code) = side.signed("exit.code") else {
        return Ok(Finding::new(false, expected, "it was ended by a signal"));
    };
    Ok(Finding::new(code == 0, expected, format!("it exited with code {code}")))
}

/// What the trace shows.
pub(super) fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let expected = "the signal is taken and the process exits by itself with code 0";
    if side.flag("signal.ignored")? {
        return Ok(Finding::new(false, expected, "the signal was ignored"));
    }
    let ended = inside(side)?;
    if ended.holds && side.flag("killed")? {
        return Ok(Finding::new(false, expected, "a SIGKILL came before the end"));
    }
    Ok(Finding { expected: expected.to_owned(), ..ended })
}
