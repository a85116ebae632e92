//! PID-02: one process, two numbers; the runtime reports the outer one.

use podproof_ebpf::event::EventKind;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-02",
    name: "inner_and_outer_pid_differ",
    level: Level::Must,
    statement: "The same process has different PIDs inside and outside; NSpid lists both and the reported state \
                pid is the outer one.",
    source: "pid_namespaces(7); runtime-spec runtime.md#state",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "One container with a new PID namespace; the runtime is asked for its state.",
    inside: "getpid(2) of the program, its number on the node (SO_PEERCRED of its connection), both in NSpid of \
             /proc/PID/status read on the node, and the pid that `state` reports.",
    kernel: "The numbers that the process was given at its creation, one per PID namespace that sees it, and the \
             pid that `state` reports.",
    defects: &[("pid-02-inner-pid", "`state` reports the number inside the container")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let container = cell.container(&Bundle::witness("a"))?;
    let state = cell.state(&container.id)?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let outer = container.outer_pid();
    if let Some(link) = &container.link {
        evidence.inside("pid.inner", link.hello.birth.pid, "witness a: getpid(2) at birth");
        evidence.inside("pid.outer", link.outer_pid, "node: SO_PEERCRED of the witness's connection");
    }
    if let Some(numbers) = process::ns_pids(outer) {
        evidence.inside("nspid", numbers, format!("node: NSpid of /proc/{outer}/status"));
    }
    let birth = trace
        .exec_of(outer, &container.program)
        .and_then(|exec| trace.births().find(|birth| birth.child.task == exec.task.task));
    if let Some(birth) = birth {
        let source =
            format!("{}: numbers of the task that executes {}", birth.event.source, container.program);
        evidence.kernel("numbers", birth.child.ns_pids.clone(), source);
    }
    evidence.inside("state.pid", state.pid, "runtime: state");
    evidence.kernel("state.pid", state.pid, "runtime: state");
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::NewTask { .. } | EventKind::Exec { .. })
    });
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (inner, outer, reported) =
        (side.number("pid.inner")?, side.number("pid.outer")?, side.number("state.pid")?);
    let listed = side.numbers("nspid")?;
    let lists_both = listed.first() == Some(&outer) && listed.last() == Some(&inner);
    Ok(Finding::new(
        inner != outer && lists_both && reported == outer,
        "two numbers, both in NSpid, and the outer one in the state",
        format!("{inner} inside, {outer} outside, NSpid {listed:?}, and the state says {reported}"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (numbers, reported) = (side.numbers("numbers")?, side.number("state.pid")?);
    let (Some(outer), Some(inner)) = (numbers.first(), numbers.last()) else {
        return Err(Gap("numbers (of the task)".to_owned()));
    };
    Ok(Finding::new(
        numbers.len() >= 2 && inner != outer && reported == *outer,
        "a task with two numbers, and the outer one in the state",
        format!("the task has the numbers {numbers:?}, outermost first, and the state says {reported}"),
    ))
}
