//! SIG-22: a number that has come back is another process.

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::is;

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-22",
    name: "a_recycled_number_is_never_signalled",
    level: Level::Should,
    statement: "Signals go through a pidfd or after a start-time check, so a recycled PID is never hit.",
    source: "pidfd_send_signal(2); pidfd_open(2)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container's program exits by itself and is reaped; the runtime is not told. Another process gets its \
               number (clone3(2) with set_tid). Then the runtime is asked to send the container SIGTERM and SIGKILL, \
               and to delete it by force.",
    inside: "The other process lives.",
    kernel: "No signal is generated for the other process, and it does not end (signal_generate, \
             sched_process_exit).",
    defects: &[("sig-22-by-number", "kill signals the number that create wrote to the pid file")],
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
    let pid = container.pid;
    if container.outer_pid() != pid {
        return Err(Obstacle::Runtime("the container's program is not its main process".to_owned()));
    }
    container.witness()?.tell(Command::Exit { code: 0 })?;
    if cell.wait(pid, cell.deadline(5.0))?.is_none() {
        return Err(Obstacle::Runtime("the container's program did not end".to_owned()));
    }
    let refused = cell.helper(&["stand-in", &pid.to_string()])?.stdout;
    if refused.trim() != "0" {
        let errno = refused.trim();
        return Err(Obstacle::Skip(format!(
            "needs a process of a given number: clone3(2) failed with errno {errno}"
        )));
    }
    let mut told = Vec::new();
    for call in [["kill", "TERM"], ["kill", "KILL"], ["delete", "--force"]] {
        let call = match call {
            ["kill", signal] => cell.kill(&container.id, signal)?,
            [verb, option] => cell.call(&[verb, option, &container.id])?,
        };
        told.push(call.summary());
    }
    let state = process::state(pid);
    let trace = cell.trace()?;
    cell.end_processes(&[pid])?;

    let mut evidence = Evidence::default();
    facts::told(&mut evidence, "calls", told, "runtime: what it said to each call");
    let letter = state.map_or_else(|| "none".to_owned(), String::from);
    evidence.inside("bystander.state", letter, format!("node: State of /proc/{pid}/status, after the calls"));
    // The second process with the number: the first one is the container's.
    let bystander = trace.births().rfind(|birth| is(birth.child.task, pid)).map(|birth| birth.child.task);
    if let Some(bystander) =
        bystander.filter(|_| trace.births().filter(|birth| is(birth.child.task, pid)).count() > 1)
    {
        let sent: Vec<u32> = trace
            .signals_to(pid)
            .filter(|sent| sent.target.start_ns == bystander.start_ns)
            .map(|sent| sent.signal)
            .collect();
        evidence.kernel(
            "bystander.sent",
            sent,
            "tp_btf/signal_generate: for the process with that number and start",
        );
        let ended = trace.exits().any(|exit| exit.group_dead && exit.task.task == bystander);
        evidence.kernel("bystander.ended", ended, "tp_btf/sched_process_exit, up to the fence");
    }
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::NewTask { child, .. } => is(child.task, pid),
        EventKind::SignalGenerate { target, .. } => is(*target, pid),
        EventKind::Exit { task, .. } => is(task.task, pid),
        _ => false,
    });
    Ok(evidence)
}

const EXPECTED: &str = "the process that has the container's number now is not signalled";

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let state = side.text("bystander.state")?;
    Ok(Finding::new(!matches!(state, "Z" | "X" | "none"), EXPECTED, format!("its state is {state}")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (sent, ended) = (side.numbers("bystander.sent")?, side.flag("bystander.ended")?);
    let was = if ended { "it ended" } else { "it lives" };
    Ok(Finding::new(
        sent.is_empty() && !ended,
        EXPECTED,
        format!("{} signals were sent to it, {was}", sent.len()),
    ))
}
