//! LIFE-01: `create` prepares everything and does not run the program.

use podproof_ebpf::event::{Event, EventKind};
use podproof_witness::{SOCKET_DIR, WITNESS_PATH};

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "LIFE-01",
    name: "create_does_not_run_the_program",
    level: Level::Must,
    statement: "create prepares everything but does not run the user program; status is created and the pid is \
                reported.",
    source: "runtime-spec runtime.md#create, #state",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container whose program first appends a line to a file. It is created, a while is given in which \
               the program must not run, `state` is asked, and only then it is started.",
    inside: "The file is absent until start and there after it; `state` says created and gives the pid that stands \
             in the pid file.",
    kernel: "No exec of the program before start was called, one after it (sched_process_exec), by the process \
             whose pid was reported.",
    defects: &[("life-01-started-at-create", "create starts the program as well")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// How long the program of a created container is watched for, seconds.
const WATCHED: f64 = 0.3;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let marker = format!("{SOCKET_DIR}/marker");
    let bundle = Bundle::witness("a").args(&[WITNESS_PATH, "mark", &marker, "serve", "--name", "a"]);
    let mut container = cell.create(&bundle)?;
    if cell.await_event(cell.deadline(WATCHED), runs_program)? {
        // It runs too early: its marker is there by the time that it calls.
        cell.greet(&mut container)?;
    }
    let state = cell.state(&container.id)?;
    let file = cell.shared_dir().join("marker");
    let early = file.exists();
    let start = cell.call(&["start", &container.id])?;
    if container.link.is_none() && start.ok() {
        cell.greet(&mut container)?;
    }
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let source = format!("witness a: {marker}, looked for on the node");
    evidence.inside("marker.before_start", early, source.clone());
    evidence.inside("marker.after_start", file.exists(), source);
    evidence.inside("pid.file", container.pid, "node: the pid file that create wrote");
    let source = "tp_btf/sched_process_exec against CLOCK_BOOTTIME of the call of start";
    let by = |before: bool| {
        let execs = trace.execs().filter(|exec| exec.filename == WITNESS_PATH);
        execs.filter(|exec| (exec.event.time_ns < start.started_ns) == before).collect::<Vec<_>>()
    };
    evidence.kernel("execs.before_start", by(true).len(), source);
    evidence.kernel("execs.after_start", by(false).len(), source);
    if let Some(exec) = by(false).first() {
        evidence.kernel("exec.pid", exec.task.task.tgid, exec.event.source.clone());
    }
    let source = "runtime: state between create and start";
    facts::told(&mut evidence, "state.status", state.status, source);
    facts::told(&mut evidence, "state.pid", state.pid, source);
    facts::keep_trace(&mut evidence, &trace, |kind| matches!(kind, EventKind::Exec { .. }));
    Ok(evidence)
}

fn runs_program(event: &Event) -> bool {
    matches!(&event.kind, EventKind::Exec { filename, .. } if filename == WITNESS_PATH)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (early, late) = (side.flag("marker.before_start")?, side.flag("marker.after_start")?);
    let (status, told, written) =
        (side.text("state.status")?, side.signed("state.pid")?, side.signed("pid.file")?);
    let expected = "no trace of the program before start, status created with the pid of the pid file";
    if early {
        return Ok(Finding::new(false, expected, "the program's marker was there before start"));
    }
    if status != "created" || told <= 0 || told != written {
        let observed = format!("status {status}, pid {told} in state and {written} in the pid file");
        return Ok(Finding::new(false, expected, observed));
    }
    // A program that never runs says nothing about when it runs.
    if !late {
        return Err(Gap("the marker after start".to_owned()));
    }
    Ok(Finding::new(true, expected, format!("no marker before start, status created, pid {told}")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (early, late) = (side.number("execs.before_start")?, side.number("execs.after_start")?);
    let (status, told) = (side.text("state.status")?, side.number("state.pid")?);
    let expected = "no exec of the program before start, and then one by the process that state named";
    if early > 0 || status != "created" {
        let observed = format!("{early} execs of the program before start, status {status}");
        return Ok(Finding::new(false, expected, observed));
    }
    if late == 0 {
        return Err(Gap("an exec of the program after start".to_owned()));
    }
    let pid = side.number("exec.pid")?;
    Ok(Finding::new(
        told == pid,
        expected,
        format!("the first exec of the program came after start, by {pid}; state named {told}"),
    ))
}
