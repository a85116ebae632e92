//! PID-23: finished exec sessions do not hold up the end of a PID namespace.

use std::time::{Duration, Instant};

use podproof_ebpf::event::EventKind;
use podproof_witness::WITNESS_PATH;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::{Trace, is};

/// The catalog has a hundred; each costs a call of the runtime, and one that is left already holds up the end.
const EXECS: u64 = 8;
/// How long PID 1 may take to end.
const PATIENCE_SECONDS: f64 = 1.0;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-23",
    name: "finished_execs_are_reaped",
    level: Level::Must,
    statement: "A finished exec session is reaped promptly from outside, so it cannot hold up the end of the PID \
                namespace.",
    source: "pid_namespaces(7); wait(2)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container in which the runtime executes eight programs, one after the other, and waits for the end \
               of each. Then its PID 1 is killed: the kernel ends it only when every process of the namespace has \
               been reaped.",
    inside: "All eight calls succeed, and PID 1 can be reaped within a second of kill.",
    kernel: "Each of the eight programs is released before PID 1 begins to end, and from there on it is less than a \
             second until its parent is told (sched_process_exec, release_task, sched_process_exit).",
    defects: &[
        ("pid-23-execs-not-reaped", "the parent of an exec session never waits for it"),
        ("pid-23-fifth-not-reaped", "the same, but for the fifth session only"),
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
    let container = cell.container(&Bundle::witness("a"))?;
    let mut succeeded_execs = 0_u64;
    for _ in 0..EXECS {
        let call = cell.call(&["exec", &container.id, WITNESS_PATH, "exit", "0"])?;
        succeeded(&call)?;
        succeeded_execs += 1;
    }
    let patience = cell.deadline(PATIENCE_SECONDS);
    let kill = cell.kill(&container.id, "KILL")?;
    succeeded(&kill)?;
    let asked = Instant::now();
    let ended = cell.wait(container.pid, patience)?.is_some();
    let waited = asked.elapsed();
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    evidence.inside("execs", succeeded_execs, "runtime: exec, calls that succeeded");
    evidence.inside("pid_1.ended", ended, format!("node: waitid(2) by the suite, {} ms", waited.as_millis()));
    let source = "the suite: a second, scaled for this machine";
    facts::told(&mut evidence, "patience_ms", millis(patience), source);
    kernel_facts(&mut evidence, &trace, container.pid);
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::Exec { filename, .. } => filename == WITNESS_PATH,
        EventKind::ZombieStart { task, .. } => is(*task, container.pid),
        EventKind::Exit { task, .. } => task.ns_pids.len() > 1,
        EventKind::Reap { ns_pids, .. } => ns_pids.len() > 1,
        _ => false,
    });
    Ok(evidence)
}

fn kernel_facts(evidence: &mut Evidence, trace: &Trace, pid: i32) {
    let sessions: Vec<u32> = trace
        .execs()
        .filter(|exec| exec.filename == WITNESS_PATH && !is(exec.task.task, pid))
        .map(|exec| exec.task.task.tgid)
        .collect();
    evidence.kernel("sessions", sessions.len(), "tp_btf/sched_process_exec: programs beside PID 1");
    let Some(end) = trace.end_of(pid) else { return };
    let reaps: Vec<_> = sessions.iter().filter_map(|tgid| trace.reap_of(*tgid)).collect();
    let in_time = reaps.iter().filter(|(event, _)| event.seq < end.event.seq).count();
    let source = reaps
        .first()
        .map_or_else(|| "no release up to the fence".to_owned(), |(event, _)| event.source.clone());
    evidence.kernel("reaped", in_time, format!("{source}: before PID 1 began to end"));
    let told = trace
        .events
        .iter()
        .find(|event| matches!(&event.kind, EventKind::ZombieStart { task, .. } if is(*task, pid)));
    let took = told.map(|told| millis(Duration::from_nanos(told.time_ns.saturating_sub(end.event.time_ns))));
    let source = told.map_or_else(|| "not told up to the fence".to_owned(), |told| told.source.clone());
    evidence.kernel("end_ms", took, format!("{source}: from the beginning of PID 1's end"));
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (execs, ended) = (side.number("execs")?, side.flag("pid_1.ended")?);
    if execs != EXECS {
        return Err(Gap(format!("{EXECS} exec sessions (there were {execs})")));
    }
    let within = format!("within {} ms", side.number("patience_ms")?);
    let what = if ended { "it has ended" } else { "it has not ended" };
    Ok(Finding::new(ended, format!("PID 1 ends {within}"), format!("{what} {within}")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (sessions, reaped) = (side.number("sessions")?, side.number("reaped")?);
    if sessions != EXECS {
        return Err(Gap(format!("{EXECS} exec sessions (there are {sessions})")));
    }
    let patience = side.number("patience_ms")?;
    let finding = Finding::new(
        reaped == sessions,
        format!("all {sessions} sessions are released before PID 1 begins to end"),
        format!("{reaped} of {sessions} were released"),
    );
    // Null when it has not ended.
    let took = side.value("end_ms")?.as_u64();
    Ok(finding.and(Finding::new(
        took.is_some_and(|took| took <= patience),
        format!("its end takes no more than {patience} ms"),
        took.map_or_else(|| "it does not end".to_owned(), |took| format!("it took {took} ms")),
    )))
}
