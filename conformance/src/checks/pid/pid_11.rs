//! PID-11: the end of another process is not the end of the container.

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::reap::orphans::Orphans;
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::is;

const SIGKILL: i32 = 9;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-11",
    name: "other_processes_may_end",
    level: Level::Must,
    statement: "Death of a process other than the main one does not stop or restart the container.",
    source: "runtime-spec runtime.md#state (running: the container process has executed the program and has not \
             exited)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container whose program has a child and an orphan, a child of PID 1. The child is killed, the \
               orphan exits. Then the runtime is asked for the state.",
    inside: "The program answers after both ends, and the runtime says 'running'.",
    kernel: "The child ends by signal 9 and the orphan by itself; the main process does not end, and is executed \
             once (sched_process_exit, sched_process_exec).",
    defects: &[("pid-11-any-sigchld", "any SIGCHLD of PID 1 is taken for the end of the container")],
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
    let timeout = cell.deadline(10.0);
    let command = Command::ForkSleepers { count: 1, sessions: false };
    let sleepers: Vec<i32> = container.witness()?.ask_as(command, timeout)?;
    let orphans = Orphans::make(cell, &mut container, 1)?;
    for pid in sleepers {
        container.witness()?.ask(Command::SignalFromChild { pid, signal: SIGKILL }, timeout)?;
    }
    orphans.release(cell, &mut container)?;
    let (main, program) = (container.pid, container.outer_pid());
    cell.await_event(timeout, |event| is_killed_child(&event.kind, program))?;
    let answers = container.witness()?.ask(Command::Ping, timeout).is_ok();
    let state = cell.state(&container.id)?;
    let answers = answers && container.witness()?.ask(Command::Ping, timeout).is_ok();
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    evidence.inside("answers", answers, "witness a: its answers before and after the state was asked for");
    facts::told(&mut evidence, "state.status", state.status, "runtime: state, after both ends");
    let killed = trace.events.iter().filter(|event| is_killed_child(&event.kind, program)).count();
    evidence.kernel(
        "children.killed",
        killed,
        "tp_btf/sched_process_exit: children of the program, signal 9",
    );
    let exited = trace
        .exits()
        .filter(|exit| exit.group_dead && orphans.outer.contains(&exit.task.task.tgid) && exit.status == 0)
        .count();
    evidence.kernel("orphans.exited", exited, "tp_btf/sched_process_exit: orphans, code 0");
    let ended = trace.end_of(main).is_some() || trace.end_of(program).is_some();
    evidence.kernel("main.ended", ended, "tp_btf/sched_process_exit, up to the fence");
    let runs = trace.execs().filter(|exec| exec.filename == container.program).count();
    evidence.kernel(
        "program.executed",
        runs,
        "tp_btf/sched_process_exec: how often the program was executed",
    );
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Exit { .. } | EventKind::SignalGenerate { .. } | EventKind::Exec { .. })
    });
    Ok(evidence)
}

/// Whether it is the end of a child of this process by SIGKILL.
fn is_killed_child(kind: &EventKind, parent: i32) -> bool {
    match kind {
        EventKind::Exit { task, status, group_dead, .. } => {
            *group_dead && is(task.parent, parent) && status & 0x7f == SIGKILL.unsigned_abs()
        }
        _ => false,
    }
}

const EXPECTED: &str = "the container runs on after the end of a child and of an orphan";

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (answers, status) = (side.flag("answers")?, side.text("state.status")?);
    let what = if answers { "answers" } else { "does not answer any more" };
    let observed = format!("the program {what} and the runtime says '{status}'");
    Ok(Finding::new(answers && status == "running", EXPECTED, observed))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (ended, status) = (side.flag("main.ended")?, side.text("state.status")?);
    let runs = side.number("program.executed")?;
    let finding = Finding::new(
        !ended && status == "running" && runs == 1,
        EXPECTED,
        format!(
            "the main process {}, its program was executed {runs} times, and the runtime says '{status}'",
            if ended { "ended" } else { "has not ended" }
        ),
    );
    let (killed, exited) = (side.number("children.killed")?, side.number("orphans.exited")?);
    if finding.holds && (killed != 1 || exited != 1) {
        return Err(Gap(format!("the ends of a child and an orphan (there are {killed} and {exited})")));
    }
    Ok(finding)
}
