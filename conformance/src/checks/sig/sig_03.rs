//! SIG-03: the sandbox program survives what is no request to stop.

use podproof_ebpf::event::{EventKind, SignalResult};
use podproof_witness::Command;

use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::is;

/// What is sent, in this order.
const SIGNALS: [(&str, u32); 6] =
    [("HUP", 1), ("USR1", 10), ("USR2", 12), ("QUIT", 3), ("PIPE", 13), ("ALRM", 14)];

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-03",
    name: "sandbox_survives_other_signals",
    level: Level::Should,
    statement: "The sandbox process survives HUP, USR1, USR2, QUIT, PIPE and ALRM.",
    source: "pid_namespaces(7); Kubernetes build/pause",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and a container that joins its PID namespace. The runtime sends the sandbox HUP, USR1, \
               USR2, QUIT, PIPE and ALRM, one after the other.",
    inside: "The container's program still answers, and the sandbox process is no zombie.",
    // A program that blocks all signals and reads them has them delivered: only the reaction counts.
    kernel: "All six are generated for it, whether they are ignored or delivered, and it does not end.",
    defects: &[("sig-03-ends-on-hup", "pause takes SIGHUP for a request to stop")],
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
    let sandbox = pod.sandbox.pid;
    let mut sent = Vec::new();
    for (name, number) in SIGNALS {
        let call = cell.kill(&pod.sandbox.id, name)?;
        let lives = || process::state(sandbox).is_some_and(|state| !matches!(state, 'Z' | 'X'));
        // A runtime may refuse to signal a sandbox that has ended, and only then.
        if !call.ok() && !lives() {
            break;
        }
        succeeded(&call)?;
        sent.push(number);
    }
    // A signal is taken when its receiver runs the next time: the end, if there is one, comes after the call.
    let ended = cell.wait(sandbox, cell.deadline(0.5))?.is_some();
    let [member] = exactly(&mut pod.members)?;
    let answers = member.witness()?.ask(Command::Ping, cell.deadline(5.0)).is_ok();
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    facts::told(&mut evidence, "sent", sent.clone(), "the suite: what `kill` was asked to send");
    evidence.inside("ended", ended, format!("node: waitid(2) for {sandbox} by the suite"));
    evidence.inside("answers", answers, "witness a: its answer after the signals; it ends with PID 1");
    let mut generated = Vec::new();
    for signal in trace.signals_to(sandbox).filter(|signal| sent.contains(&signal.signal)) {
        generated.push(signal.signal);
        let ignored = signal.result == SignalResult::Ignored;
        let source = format!("{}: signal {}", signal.event.source, signal.signal);
        evidence.kernel(&format!("ignored.{}", signal.signal), ignored, source);
    }
    evidence.kernel("generated", generated, "tp_btf/signal_generate: for the sandbox process, in order");
    evidence.kernel("ended", trace.end_of(sandbox).is_some(), "tp_btf/sched_process_exit, up to the fence");
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::SignalGenerate { target, .. } => is(*target, sandbox),
        EventKind::Exit { task, .. } => is(task.task, sandbox),
        EventKind::SignalDeliver { .. } => true,
        _ => false,
    });
    Ok(evidence)
}

const EXPECTED: &str = "the sandbox process lives after all six signals";

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (sent, ended, answers) = (side.numbers("sent")?, side.flag("ended")?, side.flag("answers")?);
    let was = if ended { "ended" } else { "lives" };
    let witness = if answers { "answers" } else { "does not answer" };
    Ok(Finding::new(
        sent.len() == SIGNALS.len() && !ended && answers,
        EXPECTED,
        format!("after {} signals it {was}, and the container's program {witness}", sent.len()),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (sent, generated, ended) = (side.numbers("sent")?, side.numbers("generated")?, side.flag("ended")?);
    if ended {
        return Ok(Finding::new(false, EXPECTED, format!("it ended, of {generated:?}")));
    }
    if sent != generated || sent.len() != SIGNALS.len() {
        return Err(Gap(format!("the six signals ({generated:?} were generated)")));
    }
    Ok(Finding::new(true, EXPECTED, format!("{} signals, and no end", generated.len())))
}
