//! PID-16: orphans of a shared PID namespace are adopted by the sandbox program.

use podproof_witness::Command;

use super::adoption;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, PAUSE_PATH};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const MEMBERS: [&str; 2] = ["a", "b"];

const REQUIREMENT: Requirement = Requirement {
    id: "PID-16",
    name: "orphans_go_to_the_sandbox_of_a_shared_namespace",
    level: Level::Must,
    statement: "An orphan in a shared PID namespace is reparented to the sandbox process, from whichever container \
                it came.",
    source: "pid_namespaces(7); Kubernetes share-process-namespace",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and two containers that join its PID namespace. The program of each makes three orphans \
               and then lets them end.",
    inside: "The parent of each orphan, in /proc of its container, is 1, and /proc/1/cmdline is the sandbox \
             program's.",
    kernel: "When the orphans end, their parent is the process that the sandbox program was executed by.",
    defects: &[
        (
            "pid-16-subreaper",
            "the main process of a container that joins a PID namespace is made a subreaper",
        ),
        ("pid-16-second-subreaper", "the same, but of the second such container only"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &MEMBERS)?;
    let mut evidence = Evidence::default();
    let mut made = Vec::new();
    for member in &mut pod.members {
        let command = Command::ReadFile { path: "/proc/1/cmdline".to_owned() };
        let line: String = member.witness()?.ask_as(command, cell.deadline(10.0))?;
        let name = &member.name;
        let line = line.split('\0').next().unwrap_or_default();
        evidence.inside(&format!("first.{name}"), line, format!("witness {name}: /proc/1/cmdline"));
        made.push(adoption::observe(cell, member, &mut evidence)?);
    }
    let trace = cell.trace()?;
    if let Some(exec) = trace.exec_of(pod.sandbox.pid, PAUSE_PATH) {
        let source = format!("{}: exec of {}", exec.event.source, exec.filename);
        evidence.kernel("sandbox", exec.task.task.tgid, source);
    }
    for (member, orphans) in pod.members.iter().zip(&made) {
        adoption::adopters(&mut evidence, &trace, &member.name, orphans);
    }
    adoption::keep_trace(&mut evidence, &trace, &made.iter().collect::<Vec<_>>());
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut finding = Finding::new(true, "", "");
    for name in MEMBERS {
        let first = side.text(&format!("first.{name}"))?;
        finding = finding.and(adoption::all_by(side, &format!("parents.{name}"), 1, "PID 1")?).and(
            Finding::new(first == PAUSE_PATH, format!("PID 1 is {PAUSE_PATH}"), format!("it is {first}")),
        );
    }
    Ok(finding)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let sandbox = side.number("sandbox")?;
    let mut finding = Finding::new(true, "", "");
    for name in MEMBERS {
        let key = format!("adopters.{name}");
        finding = finding.and(adoption::all_by(side, &key, sandbox, "the sandbox program")?);
    }
    Ok(finding)
}
