//! PID-12: no process comes into a PID namespace whose PID 1 has ended.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use podproof_ebpf::event::EventKind;
use podproof_witness::WITNESS_PATH;

use crate::adapter::oci::{Call, Caller};
use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::is;

/// A runtime that tries this often does not take the kernel's answer.
const ATTEMPTS: u64 = 16;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-12",
    name: "a_dead_pid_namespace_is_not_joined",
    level: Level::Must,
    statement: "Starting a process in a PID namespace whose PID 1 has ended fails cleanly.",
    source: "pid_namespaces(7) (fork(2) fails with ENOMEM)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox is killed and reaped; its PID namespace stays, as the suite holds a descriptor of it. The \
               runtime is asked to create a container that joins that namespace by the descriptor's path, and to \
               execute a program in the sandbox.",
    inside: "Both calls come back with an error, and the runtime knows no container that was not created.",
    kernel: "After the end of the sandbox program no process is born in the PID namespace, and births that are \
             refused with ENOMEM are not tried again and again (task_newtask, exits of clone); the runtime's answers \
             are compared with that.",
    defects: &[("pid-12-retries", "create is tried again until it succeeds")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let sandbox = cell.sandbox("pause")?;
    let path = format!("/proc/{}/ns/pid", sandbox.pid);
    let held =
        File::open(&path).map_err(|source| Obstacle::Node { op: "open", path: path.into(), source })?;
    cell.kill(&sandbox.id, "KILL")?;
    if cell.wait(sandbox.pid, cell.deadline(10.0))?.is_none() {
        return Err(Obstacle::Runtime("the sandbox did not end by KILL".to_owned()));
    }
    let path = format!("/proc/{}/fd/{}", std::process::id(), held.as_raw_fd());
    let bundle = Bundle::witness("late").namespace("pid", NsSource::Path(path));
    let (late, create) = cell.try_create(&bundle, &Caller::default())?;
    let state = cell.call(&["state", &late.id])?;
    let exec = cell.call(&["exec", &sandbox.id, WITNESS_PATH, "exit", "0"])?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    answer(&mut evidence, "create", &create);
    answer(&mut evidence, "exec", &exec);
    evidence.inside("known", state.ok(), "runtime: state of the container that was not created");
    let space = trace.exec_of(sandbox.pid, &sandbox.program).and_then(|exec| exec.task.ns.pid);
    if let (Some(space), Some(end)) = (space, trace.end_of(sandbox.pid)) {
        let born = trace
            .births()
            .filter(|birth| birth.event.seq > end.event.seq && birth.child.ns.pid == Some(space))
            .count();
        let source = "tp_btf/task_newtask: in the PID namespace, from the end of its PID 1 up to the fence";
        evidence.kernel("born", born, source);
        let refused = trace.events.iter().filter(|event| {
            matches!(event.kind, EventKind::CloneFailed { errno, .. } if errno == Errno::ENOMEM as i32)
        });
        evidence.kernel("refused.enomem", refused.count(), "exits of clone, clone3 and fork: ENOMEM");
    }
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::CloneFailed { .. } | EventKind::Setns { .. } => true,
        EventKind::Exit { task, .. } => is(task.task, sandbox.pid),
        _ => false,
    });
    Ok(evidence)
}

/// What came of a call: `failed`, `succeeded`, or `did not end`.
fn answer(evidence: &mut Evidence, name: &str, call: &Call) {
    let what = match call.code {
        Some(0) => "succeeded",
        Some(_) => "failed",
        None => "did not end",
    };
    facts::told(evidence, name, what, &format!("runtime: `{}` {}", call.line, call.end()));
}

fn answers(side: &Side<'_>) -> Result<Finding, Gap> {
    let (create, exec) = (side.text("create")?, side.text("exec")?);
    Ok(Finding::new(
        create == "failed" && exec == "failed",
        "create and exec fail",
        format!("create {create}, exec {exec}"),
    ))
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let known = side.flag("known")?;
    let what = if known { "a container is left" } else { "no container is left" };
    Ok(answers(side)?.and(Finding::new(!known, "no container is left", what)))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (born, refused) = (side.number("born")?, side.number("refused.enomem")?);
    let finding = Finding::new(
        born == 0 && refused <= ATTEMPTS,
        format!("no process is born in the dead PID namespace, after {ATTEMPTS} attempts at most"),
        format!("{born} were born, {refused} refused with ENOMEM"),
    );
    Ok(finding.and(answers(side)?))
}
