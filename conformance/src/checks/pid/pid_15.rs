//! PID-15: orphans of a private PID namespace are adopted by its PID 1.

use super::adoption;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "PID-15",
    name: "orphans_go_to_pid_1_of_a_private_namespace",
    level: Level::Must,
    statement: "An orphan in a private PID namespace is reparented to that namespace's PID 1.",
    source: "pid_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A container with a new PID namespace, whose program makes three orphans and then lets them end.",
    inside: "The parent of each orphan, in /proc of the container, is 1.",
    kernel: "When the orphans end, their parent is the process with number 1 of that namespace.",
    defects: &[("pid-15-adopted-between", "a subreaper between PID 1 and the container's program adopts")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut container = cell.alone("a")?;
    let mut evidence = Evidence::default();
    let orphans = adoption::observe(cell, &mut container, &mut evidence)?;
    let trace = cell.trace()?;
    let space = trace.exec_of(container.outer_pid(), &container.program).and_then(|exec| exec.task.ns.pid);
    let first = trace
        .births()
        .find(|birth| space.is_some() && birth.child.ns.pid == space && birth.child.ns_pid() == Some(1));
    if let Some(first) = first {
        let source = format!("{}: number 1 of the program's PID namespace", first.event.source);
        evidence.kernel("first", first.child.task.tgid, source);
        adoption::adopters(&mut evidence, &trace, &container.name, &orphans);
    }
    adoption::keep_trace(&mut evidence, &trace, &[&orphans]);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    adoption::all_by(side, "parents.a", 1, "PID 1")
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    adoption::all_by(side, "adopters.a", side.number("first")?, "PID 1")
}
