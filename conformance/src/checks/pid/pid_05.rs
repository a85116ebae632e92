//! PID-05: a container that joins a PID namespace is nobody's child in it.

use podproof_ebpf::event::{EventKind, NsKind};

use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::inode;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-05",
    name: "a_joining_container_has_no_parent_inside",
    level: Level::Must,
    statement: "The main process of a container that joined a PID namespace has parent PID 0 inside it, not the \
                sandbox process.",
    source: "pid_namespaces(7) (setns children)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox, and a container that joins its PID namespace by path (process sharing).",
    inside: "getppid(2) of the program and PPid of its /proc/self/status are 0; its PID namespace is the sandbox's.",
    kernel: "When the program is executed its parent is a task of another PID namespace (sched_process_exec); its \
             own PID namespace is the sandbox's.",
    defects: &[(
        "pid-05-child-of-pause",
        "the program of a container that joins a PID namespace becomes a child of its PID 1",
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
    let pod = cell.pod(true, &["a"])?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    facts::node_ns(&mut evidence, "pause", pod.sandbox.pid, "pid");
    facts::kernel_ns(&mut evidence, &trace, &pod.sandbox, NsKind::Pid);
    for member in &pod.members {
        facts::inside_ns(&mut evidence, member, "pid");
        facts::kernel_ns(&mut evidence, &trace, member, NsKind::Pid);
        if let Some(link) = &member.link {
            let birth = &link.hello.birth;
            evidence.inside("parent.getppid", birth.ppid, "witness a: getppid(2) at birth");
            let told = birth.status.as_deref().and_then(|text| process::status_field(text, "PPid"));
            if let Some(parent) = told.and_then(|parent| parent.parse::<u32>().ok()) {
                evidence.inside("parent.status", parent, "witness a: PPid of /proc/self/status at birth");
            }
        }
        if let Some(exec) = trace.exec_of(member.outer_pid(), &member.program) {
            let source = format!("{}: parent {} at the exec", exec.event.source, exec.task.parent.tgid);
            evidence.kernel_if("parent.pid_ns", inode(exec.task.parent_pid_ns), source);
        }
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(
            kind,
            EventKind::Setns { .. }
                | EventKind::NewTask { .. }
                | EventKind::Exec { .. }
                | EventKind::Exit { .. }
        )
    });
    Ok(evidence)
}

fn joined(side: &Side<'_>) -> Result<Finding, Gap> {
    facts::all_equal(side, "PID namespace", &["pid.pause", "pid.a"])
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (called, listed) = (side.number("parent.getppid")?, side.number("parent.status")?);
    let orphan = Finding::new(
        called == 0 && listed == 0,
        "parent 0 inside",
        format!("getppid says {called}, /proc/self/status says {listed}"),
    );
    Ok(joined(side)?.and(orphan))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (own, parent) = (side.number("pid.a")?, side.number("parent.pid_ns")?);
    let orphan = Finding::new(
        own != parent,
        "a parent outside of the joined PID namespace",
        format!("its parent is in PID namespace {parent}"),
    );
    Ok(joined(side)?.and(orphan))
}
