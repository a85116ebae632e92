//! PID-17: a subreaper of a container adopts before PID 1.

use podproof_witness::Command;

use super::adoption;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "PID-17",
    name: "a_subreaper_inside_adopts_first",
    level: Level::Must,
    statement: "A subreaper inside the container adopts orphans before PID 1 does.",
    source: "prctl(2) PR_SET_CHILD_SUBREAPER",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and a container that joins its PID namespace, so that its program is not PID 1. The \
               program makes itself a subreaper, makes three orphans and then lets them end.",
    inside: "The parent of each orphan, in /proc of the container, is the program.",
    kernel: "When the orphans end, their parent is the process that the program was executed by.",
    defects: &[(
        "pid-17-flag-swallowed",
        "a filter in front of the program lets its request to be a subreaper succeed without effect",
    )],
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
    let [member] = exactly(&mut pod.members)?;
    let mut evidence = Evidence::default();
    let link = member.witness()?;
    evidence.inside("program", link.hello.birth.pid, "witness a: getpid(2) at birth");
    link.ask(Command::BecomeSubreaper, cell.deadline(5.0))?;
    let orphans = adoption::observe(cell, member, &mut evidence)?;
    let trace = cell.trace()?;
    if let Some(exec) = trace.exec_of(member.outer_pid(), &member.program) {
        let source = format!("{}: exec of {}", exec.event.source, exec.filename);
        evidence.kernel("program.outside", exec.task.task.tgid, source.clone());
        evidence.kernel_if("program", exec.task.ns_pid(), source);
    }
    adoption::adopters(&mut evidence, &trace, "a", &orphans);
    adoption::keep_trace(&mut evidence, &trace, &[&orphans]);
    Ok(evidence)
}

/// As PID 1 it would adopt without being a subreaper.
fn not_first(side: &Side<'_>) -> Result<u64, Gap> {
    match side.number("program")? {
        1 => Err(Gap("a program that is not PID 1".to_owned())),
        program => Ok(program),
    }
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    adoption::all_by(side, "parents.a", not_first(side)?, "the subreaper")
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    not_first(side)?;
    adoption::all_by(side, "adopters.a", side.number("program.outside")?, "the subreaper")
}
