//! SIG-21: what is no signal is not sent.

use podproof_ebpf::event::EventKind;
use podproof_witness::{CaughtSignal, Command};

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process::boot_ns;
use crate::observe::trace::is;

/// What is asked for: no name of signal(7), and numbers above the last one.
const UNKNOWN: [&str; 6] = ["FOO", "SIGFOO", "TERMX", "65", "79", "999"];
/// How long a signal that was sent may take to be caught.
const PATIENCE_SECONDS: f64 = 0.2;

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-21",
    name: "an_unknown_signal_is_refused",
    level: Level::Must,
    statement: "An unknown signal name or number is refused and nothing is sent.",
    source: "runtime-spec runtime.md#kill; config.md#valid-values; signal(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container whose program catches every signal that can be caught. The runtime is asked to send FOO, \
               SIGFOO, TERMX, 65, 79 and 999.",
    inside: "Each call fails with an error text, and the program catches nothing and answers.",
    kernel: "No signal is generated for the program from outside of it (signal_generate), and each call fails.",
    defects: &[
        ("sig-21-unknown-is-zero", "an unknown name is taken for signal 0"),
        ("sig-21-wraps", "numbers of signals are taken modulo 64"),
    ],
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
    let pid = container.outer_pid();
    container.witness()?.ask(Command::CatchAllSignals, timeout)?;
    let began_ns = boot_ns();
    let (mut accepted, mut silent) = (Vec::new(), Vec::new());
    for request in UNKNOWN {
        let call = cell.kill(&container.id, request)?;
        if !call.refused() {
            accepted.push(request);
        } else if call.stderr.trim().is_empty() {
            silent.push(request);
        }
    }
    let timeout_ms = millis(cell.deadline(PATIENCE_SECONDS));
    let command = Command::CaughtSignals { at_least: 1, timeout_ms };
    let caught = container.witness()?.ask_as::<Vec<CaughtSignal>>(command, timeout);
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    facts::told(
        &mut evidence,
        "accepted",
        accepted,
        "runtime: requests that `kill` returned 0 for, or did not answer",
    );
    evidence.inside("silent", silent, "runtime: requests that `kill` refused without a word");
    evidence.inside("answers", caught.is_ok(), "witness a: its answer after the calls");
    let caught: Vec<u32> = caught.unwrap_or_default().into_iter().map(|caught| caught.signal).collect();
    evidence.inside("caught", caught, "witness a: its handlers");
    let sent: Vec<u32> = trace
        .signals_to(pid)
        .filter(|sent| sent.event.time_ns >= began_ns && !is(sent.event.current, pid))
        .map(|sent| sent.signal)
        .collect();
    evidence.kernel("sent", sent, "tp_btf/signal_generate: for the program, from outside of it");
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::SignalGenerate { target, .. } => is(*target, pid),
        EventKind::Exec { .. } => true,
        _ => false,
    });
    Ok(evidence)
}

const EXPECTED: &str = "every call is refused, and nothing is sent";

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (accepted, silent) = (side.texts("accepted")?, side.texts("silent")?);
    let (caught, answers) = (side.numbers("caught")?, side.flag("answers")?);
    let witness = if answers { "answers" } else { "does not answer" };
    Ok(Finding::new(
        accepted.is_empty() && silent.is_empty() && caught.is_empty() && answers,
        EXPECTED,
        format!(
            "accepted: {}; refused without a word: {}; the program caught {} signals and {witness}",
            list(&accepted),
            list(&silent),
            caught.len()
        ),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (accepted, sent) = (side.texts("accepted")?, side.numbers("sent")?);
    Ok(Finding::new(
        accepted.is_empty() && sent.is_empty(),
        EXPECTED,
        format!("accepted: {}; signals sent: {sent:?}", list(&accepted)),
    ))
}

fn list(requests: &[&str]) -> String {
    if requests.is_empty() { "none".to_owned() } else { requests.join(", ") }
}
