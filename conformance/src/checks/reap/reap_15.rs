//! REAP-15: a container runs until its last thread ends.

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::is;

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-15",
    name: "runs_until_the_last_thread_ends",
    level: Level::Must,
    statement: "A container whose main thread ended while other threads still run is reported running until the \
                last thread ends.",
    source: "pthread_exit(3); runtime-spec runtime.md#state (the process has not exited)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "The main thread of the container's process ends by itself; a worker thread goes on serving. Such a \
               process shows as a zombie (state Z) in /proc although it works. Then the runtime is asked for the \
               state. A runtime that takes the zombie for the end refuses to signal the container, and its delete \
               leaves the worker and its cgroup behind.",
    inside: "The worker thread still answers, and the runtime's `state` is compared with that.",
    kernel: "The leader exits without being the last of its group (sched_process_exit); the runtime's answer is \
             compared with that.",
    defects: &[("reap-15-zombie-leader", "'stopped' is derived from state Z in /proc/PID/stat")],
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
    let leader: String = container.witness()?.ask_as(Command::EndMainThread, timeout)?;
    let state = cell.state(&container.id)?;
    let answers = container.witness()?.ask(Command::Ping, timeout).is_ok();
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    evidence.inside("leader.state", leader, "witness a: /proc/self/task/LEADER/stat");
    evidence.inside("worker.answers", answers, "witness a: its worker thread, after the state was asked for");
    evidence.inside("state.status", state.status.clone(), "runtime: state");
    let leader_exit = trace
        .exits()
        .find(|exit| is(exit.task.task, container.pid) && exit.task.task.tid == exit.task.task.tgid);
    if let Some(exit) = leader_exit {
        evidence.kernel("leader.exited", true, exit.event.source.clone());
        evidence.kernel(
            "group.ended",
            trace.end_of(container.pid).is_some(),
            format!("{}: group_dead, up to the fence", exit.event.source),
        );
    }
    evidence.kernel("state.status", state.status, "runtime: state");
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Exec { .. } | EventKind::Exit { .. })
    });
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let status = side.text("state.status")?;
    if !side.flag("worker.answers")? {
        return Err(Gap("an answer of the worker thread".to_owned()));
    }
    Ok(finding(status, "a worker thread answers"))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let status = side.text("state.status")?;
    if !side.flag("leader.exited")? || side.flag("group.ended")? {
        return Err(Gap("a leader that ended before its group".to_owned()));
    }
    Ok(finding(status, "the leader's exit was not the last of its group"))
}

fn finding(status: &str, life: &str) -> Finding {
    Finding::new(
        status == "running",
        "the status is running while a thread lives",
        format!("{life}, and the status is {status}"),
    )
}
