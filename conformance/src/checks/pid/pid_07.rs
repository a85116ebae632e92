//! PID-07: what the node can do to a PID 1 without handlers.

use podproof_ebpf::event::{EventKind, SignalResult};
use podproof_witness::Command;

use super::letter::await_letter;
use crate::adapter::oci::Call;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::{Sent, Trace, is};

const TERM: u32 = 15;
const STOP: u32 = 19;
const KILL: u32 = 9;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-07",
    name: "from_the_node_pid_1_drops_term_but_not_kill_and_stop",
    level: Level::Must,
    statement: "From the node SIGTERM to a PID 1 without handler is dropped, SIGKILL and SIGSTOP are not.",
    source: "pid_namespaces(7); kill(2)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container whose program, PID 1 of a new PID namespace, has no handlers. The runtime is asked to \
               send TERM, then STOP, then KILL.",
    inside: "The program answers after TERM, its state letter on the node is T after STOP, and it ends by signal 9 \
             after KILL.",
    kernel: "TERM is generated with the result 'ignored', STOP and KILL with 'delivered' (signal_generate); no KILL \
             is generated before the one that was asked for; the program ends by signal 9.",
    defects: &[("pid-07-term-into-kill", "the runtime sends KILL where TERM is asked for")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut container = cell.container(&Bundle::witness("a"))?;
    let pid = container.outer_pid();
    let mut evidence = Evidence::default();

    let term = cell.kill(&container.id, "TERM")?;
    sent(&mut evidence, "TERM", &term);
    let answers = container.witness()?.ask(Command::Ping, cell.deadline(5.0)).is_ok();
    evidence.inside("answers.after_term", answers, "witness a: its answer after TERM");
    let stop = cell.kill(&container.id, "STOP")?;
    sent(&mut evidence, "STOP", &stop);
    let letter = if stop.ok() { await_letter(cell, pid, 'T') } else { "not stopped".to_owned() };
    evidence.inside("letter.after_stop", letter, format!("node: State of /proc/{pid}/status"));
    let kill = cell.kill(&container.id, "KILL")?;
    sent(&mut evidence, "KILL", &kill);
    let ended = cell.wait(container.pid, cell.deadline(10.0))?;
    let how = ended.map_or_else(|| "not at all".to_owned(), |status| status.to_string());
    evidence.inside("ended", how, "node: waitid(2) by the suite");
    let by = ended.and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status));
    evidence.inside("ended.signal", by, "node: waitid(2) by the suite");

    let trace = cell.trace()?;
    kernel_facts(&mut evidence, &trace, (pid, &container.program), kill.started_ns);
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::SignalGenerate { target, .. } => is(*target, pid),
        EventKind::SignalDeliver { .. } | EventKind::Exit { .. } | EventKind::Exec { .. } => true,
        _ => false,
    });
    Ok(evidence)
}

fn sent(evidence: &mut Evidence, name: &str, call: &Call) {
    evidence.inside(
        &format!("accepted.{name}"),
        call.ok(),
        format!("runtime: `{}` {}", call.line, call.end()),
    );
}

fn kernel_facts(evidence: &mut Evidence, trace: &Trace, (pid, program): (i32, &str), kill_ns: u64) {
    // An exec ends the other threads of the process by signal 9.
    let Some(exec_seq) = trace.exec_of(pid, program).map(|exec| exec.event.seq) else { return };
    let signals: Vec<Sent<'_>> = trace
        .signals_to(pid)
        .filter(|sent| sent.event.seq > exec_seq && !is(sent.event.current, pid))
        .collect();
    for (name, signal) in [("TERM", TERM), ("STOP", STOP), ("KILL", KILL)] {
        let wanted =
            |sent: &&Sent<'_>| sent.signal == signal && (signal != KILL || sent.event.time_ns >= kill_ns);
        if let Some(sent) = signals.iter().find(wanted) {
            let result = match sent.result {
                SignalResult::Ignored => "ignored",
                SignalResult::Delivered => "delivered",
                _ => "neither delivered nor ignored",
            };
            evidence.kernel(&format!("result.{name}"), result, sent.event.source.clone());
        }
    }
    let early = signals.iter().filter(|sent| sent.signal == KILL && sent.event.time_ns < kill_ns).count();
    evidence.kernel("kills.before", early, "tp_btf/signal_generate: KILL before it was asked for");
    if let Some(end) = trace.end_of(pid) {
        evidence.kernel("end.signal", end.status & 0x7f, end.event.source.clone());
    }
}

const EXPECTED: &str = "TERM is dropped, STOP stops the program, KILL ends it";

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let answers = side.flag("answers.after_term")?;
    let (letter, ended) = (side.text("letter.after_stop")?, side.text("ended")?);
    let observed = format!(
        "after TERM the program {}, after STOP its state is {letter}, its end is: {ended}",
        if answers { "answers" } else { "does not answer" }
    );
    let by_kill = side.number("ended.signal").is_ok_and(|signal| signal == u64::from(KILL));
    let holds = answers && letter == "T" && by_kill;
    if holds && !side.flag("accepted.TERM")? {
        return Err(Gap("a TERM that the runtime sent".to_owned()));
    }
    Ok(Finding::new(holds, EXPECTED, observed))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let early = side.number("kills.before")?;
    if early > 0 {
        return Ok(Finding::new(false, EXPECTED, format!("{early} KILL before it was asked for")));
    }
    let (term, stop, kill) =
        (side.text("result.TERM")?, side.text("result.STOP")?, side.text("result.KILL")?);
    let signal = side.number("end.signal")?;
    Ok(Finding::new(
        term == "ignored" && stop == "delivered" && kill == "delivered" && signal == u64::from(KILL),
        EXPECTED,
        format!("TERM {term}, STOP {stop}, KILL {kill}; it ended by signal {signal}"),
    ))
}
