//! SIG-14: `kill` sends the signal that was asked for.

use podproof_ebpf::event::{EventKind, SignalResult};
use podproof_witness::{CaughtSignal, Command};

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process::boot_ns;
use crate::observe::trace::{Trace, is};
use crate::observe::witness::WitnessError;

/// Names that are asked for beside all numbers: with and without the prefix.
const NAMES: [(&str, u32); 4] = [("TERM", 15), ("SIGTERM", 15), ("SIGUSR1", 10), ("WINCH", 28)];
/// Signals that can be caught: 1 to 64 without SIGKILL and SIGSTOP.
const CATCHABLE: usize = 62;

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-14",
    name: "kill_delivers_exactly_the_signal",
    level: Level::Must,
    statement: "OCI kill delivers exactly the requested signal, by name or number, realtime signals by number.",
    source: "runtime-spec runtime.md#kill",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container whose program catches every signal that can be caught (1 to 64 without SIGKILL and \
               SIGSTOP). The runtime is asked to send each of them by number, and some by name with and without \
               the prefix SIG, one after the other.",
    inside: "The handlers record the same signals in the same order.",
    kernel: "The same signals, in the same order, are generated for the program by somebody outside of it, and all \
             are delivered (signal_generate).",
    defects: &[("sig-14-shifted", "numbers above 31 are shifted by one")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut container = cell.container(&Bundle::witness("a"))?;
    let timeout = cell.deadline(5.0);
    let catchable: Vec<u32> = container.witness()?.ask_as(Command::CatchAllSignals, timeout)?;
    let requests: Vec<(String, u32)> = catchable
        .iter()
        .map(|signal| (signal.to_string(), *signal))
        .chain(NAMES.map(|(name, signal)| (name.to_owned(), signal)))
        .collect();
    let began_ns = boot_ns();
    let (mut caught, mut refused): (Vec<u32>, Vec<String>) = (Vec::new(), Vec::new());
    for (request, _) in &requests {
        let accepted = cell.kill(&container.id, request)?.ok();
        if !accepted {
            refused.push(request.clone());
        }
        let at_least = u32::from(accepted);
        let timeout_ms = millis(cell.deadline(2.0));
        let seen = container
            .witness()?
            .ask_as::<Vec<CaughtSignal>>(Command::CaughtSignals { at_least, timeout_ms }, timeout);
        match seen {
            Ok(seen) => caught.extend(seen.into_iter().map(|caught| caught.signal)),
            // A program that a wrong signal ended has caught nothing more.
            Err(WitnessError::Gone { .. }) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let wanted: Vec<u32> = requests.iter().map(|(_, signal)| *signal).collect();
    let source = "the suite: what `kill` was asked to send, in order";
    evidence.inside("wanted", wanted.clone(), source);
    evidence.kernel("wanted", wanted, source);
    evidence.inside("refused", refused.clone(), "runtime: requests that `kill` returned an error for");
    evidence.inside("caught", caught, "witness a: its handlers, in order");
    let pid = container.outer_pid();
    let (sent, lost) = sent_to(&trace, pid, began_ns);
    let source = "tp_btf/signal_generate: for the program, from outside of it, in order";
    evidence.kernel("sent", sent, source);
    evidence.kernel(
        "undelivered",
        lost,
        "tp_btf/signal_generate: those with another result than 'delivered'",
    );
    facts::keep_trace(
        &mut evidence,
        &trace,
        |kind| matches!(kind, EventKind::SignalGenerate { target, .. } if is(*target, pid)),
    );
    Ok(evidence)
}

/// Signals that processes other than the program sent to it, and how many of them were not delivered.
fn sent_to(trace: &Trace, pid: i32, began_ns: u64) -> (Vec<u32>, usize) {
    let (mut sent, mut lost) = (Vec::new(), 0);
    for signal in trace.signals_to(pid) {
        if signal.event.time_ns >= began_ns && !is(signal.event.current, pid) {
            sent.push(signal.signal);
            lost += usize::from(signal.result != SignalResult::Delivered);
        }
    }
    (sent, lost)
}

/// The first place where what came differs from what was asked for.
fn difference(wanted: &[u64], came: &[u64]) -> Option<String> {
    let at = (0..wanted.len().max(came.len())).find(|at| wanted.get(*at) != came.get(*at))?;
    let show = |signal: Option<&u64>| {
        signal.map_or_else(|| "nothing".to_owned(), |signal| format!("signal {signal}"))
    };
    Some(format!("{} was asked for and {} came", show(wanted.get(at)), show(came.get(at))))
}

fn wanted(side: &Side<'_>) -> Result<Vec<u64>, Gap> {
    let wanted = side.numbers("wanted")?;
    if wanted.len() != CATCHABLE + NAMES.len() {
        return Err(Gap(format!("handlers for {CATCHABLE} signals")));
    }
    Ok(wanted)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (wanted, caught, refused) = (wanted(side)?, side.numbers("caught")?, side.texts("refused")?);
    let expected = "exactly the requested signals are caught";
    let refusal = if refused.is_empty() {
        String::new()
    } else {
        format!("; the runtime refuses {}", refused.join(", "))
    };
    Ok(match difference(&wanted, &caught) {
        Some(difference) => Finding::new(false, expected, difference + &refusal),
        None if !refused.is_empty() => Finding::new(false, expected, format!("all were caught{refusal}")),
        None => Finding::new(true, expected, format!("{} signals were caught as asked for", caught.len())),
    })
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (wanted, sent, lost) = (wanted(side)?, side.numbers("sent")?, side.number("undelivered")?);
    let expected = "exactly the requested signals are generated, and all are delivered";
    Ok(match difference(&wanted, &sent) {
        Some(difference) => Finding::new(false, expected, difference),
        None => {
            Finding::new(lost == 0, expected, format!("{} as asked for, {lost} not delivered", sent.len()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn the_first_difference_is_told() {
        assert_eq!(difference(&[1, 2], &[1, 2]), None);
        let told = difference(&[31, 32], &[31, 33]);
        assert_eq!(told.as_deref(), Some("signal 32 was asked for and signal 33 came"));
        let told = difference(&[1, 2], &[1]);
        assert_eq!(told.as_deref(), Some("signal 2 was asked for and nothing came"));
    }
}
