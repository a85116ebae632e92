//! PID-13: exec brings a process into the container's PID namespace.

use podproof_ebpf::event::{EventKind, NsKind};
use podproof_witness::{Command, ListedProcess, WITNESS_PATH};

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::inode;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-13",
    name: "exec_joins_the_pid_namespace",
    level: Level::Must,
    statement: "A process started by exec appears in the container's PID namespace with a new PID and parent 0.",
    source: "setns(2); pid_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container; the runtime executes a second program in it and does not wait for it.",
    inside: "getpid(2) of the second program is a new number and getppid(2) is 0; the first one finds that number \
             in /proc, with parent 0; both are in one PID namespace.",
    kernel: "When the second program is executed, it is in the PID namespace of the first one with that number, and \
             its parent is in another one (sched_process_exec).",
    defects: &[("pid-13-node-pids", "exec runs the program in the PID namespace of the node")],
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
    let (call, link) = cell.exec_witness(&container, "x", &[])?;
    succeeded(&call)?;
    let link = link.ok_or_else(|| Obstacle::Runtime("the witness of exec did not call".to_owned()))?;
    let second = Container {
        name: "x".to_owned(),
        pid: link.outer_pid,
        link: Some(link),
        id: container.id.clone(),
        cgroup: container.cgroup.clone(),
        program: WITNESS_PATH.to_owned(),
    };
    let listed: Vec<ListedProcess> = container.witness()?.ask_as(Command::Processes, cell.deadline(10.0))?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    facts::inside_ns(&mut evidence, &container, "pid");
    facts::inside_ns(&mut evidence, &second, "pid");
    if let Some(link) = &container.link {
        evidence.inside("number.a", link.hello.birth.pid, "witness a: getpid(2) at birth");
    }
    if let Some(link) = &second.link {
        evidence.inside("number.x", link.hello.birth.pid, "witness x: getpid(2) at birth");
        evidence.inside("parent.x", link.hello.birth.ppid, "witness x: getppid(2) at birth");
        let parents: Vec<u32> =
            listed.iter().filter(|seen| seen.pid == link.hello.birth.pid).map(|seen| seen.ppid).collect();
        evidence.inside(
            "listed.parents",
            parents,
            "witness a: parent of the process of that number in /proc",
        );
    }
    for container in [&container, &second] {
        facts::kernel_ns(&mut evidence, &trace, container, NsKind::Pid);
        if let Some(exec) = trace.exec_of(container.outer_pid(), &container.program) {
            let source = format!("{}: exec of {}", exec.event.source, exec.filename);
            let name = &container.name;
            evidence.kernel_if(&format!("number.{name}"), exec.task.ns_pid(), source.clone());
            evidence.kernel_if(&format!("parent_ns.{name}"), inode(exec.task.parent_pid_ns), source);
        }
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::NewTask { .. } | EventKind::Exec { .. } | EventKind::Setns { .. })
    });
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (first, number, parent) =
        (side.number("number.a")?, side.number("number.x")?, side.number("parent.x")?);
    let parents = side.numbers("listed.parents")?;
    let finding = Finding::new(
        number != first && parent == 0 && parents == [0],
        "the second program has a new number, and parent 0",
        format!(
            "the numbers are {first} and {number}, the parent is {parent}, parents in /proc are {parents:?}"
        ),
    );
    // A program that /proc does not know cannot read its namespaces there.
    if !finding.holds {
        return Ok(finding);
    }
    Ok(finding.and(facts::all_equal(side, "PID namespace", &["pid.a", "pid.x"])?))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let same = facts::all_equal(side, "PID namespace", &["pid.a", "pid.x"])?;
    let (first, number) = (side.number("number.a")?, side.number("number.x")?);
    let (own, parent) = (side.number("pid.x")?, side.number("parent_ns.x")?);
    Ok(same.and(Finding::new(
        number != first && own != parent,
        "the second program has a new number, and a parent outside of the PID namespace",
        format!(
            "the numbers are {first} and {number}; its PID namespace is {own}, that of its parent {parent}"
        ),
    )))
}
