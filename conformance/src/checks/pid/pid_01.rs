//! PID-01: the first process of a container is PID 1.

use podproof_ebpf::event::EventKind;

use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "PID-01",
    name: "entrypoint_is_pid_1",
    level: Level::Must,
    statement: "The first process of a container with a private PID namespace is PID 1.",
    source: "pid_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "One container with a new PID namespace.",
    inside: "getpid(2) of the entrypoint.",
    kernel: "The number of the executing task in its innermost PID namespace (sched_process_exec).",
    defects: &[("pid-01-wrapper", "a wrapper stays as PID 1 and forks the program")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside: rule, kernel: rule },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let container = cell.alone("a")?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    let outer = container.link.as_ref().map_or(container.pid, |link| link.outer_pid);
    if let Some(link) = &container.link {
        evidence.inside("pid.entrypoint", link.hello.birth.pid, "witness a: getpid(2) at birth");
    }
    if let Some(exec) = trace.exec_of(outer, &container.program) {
        evidence.kernel_if(
            "pid.entrypoint",
            exec.task.ns_pid(),
            format!("{}: exec of {}", exec.event.source, exec.filename),
        );
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::NewTask { .. } | EventKind::Exec { .. })
    });
    Ok(evidence)
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let pid = side.number("pid.entrypoint")?;
    Ok(Finding::new(pid == 1, "the entrypoint is PID 1 of its namespace", format!("it is PID {pid}")))
}
