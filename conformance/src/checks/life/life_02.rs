//! LIFE-02: `start` runs the program exactly once.

use std::fs;

use podproof_ebpf::event::EventKind;
use podproof_witness::{SOCKET_DIR, WITNESS_PATH};

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "LIFE-02",
    name: "start_runs_the_program_once",
    level: Level::Must,
    statement: "start runs the user program exactly once and the status becomes running.",
    source: "runtime-spec runtime.md#start",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container whose program first appends a line to a file, then serves.",
    inside: "The file has one line, and `state` says running.",
    kernel: "One exec of the configured program in the container, after start was called.",
    defects: &[
        ("life-02-not-started", "start changes the status and the program is never executed"),
        ("life-02-tried-twice", "start runs the beginning of the program once and then the program"),
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
    let marker = format!("{SOCKET_DIR}/marker");
    let bundle = Bundle::witness("a").args(&[WITNESS_PATH, "mark", &marker, "serve", "--name", "a"]);
    let mut container = cell.create(&bundle)?;
    let start = cell.start(&container)?;
    // A program that never runs is what this check looks for: the silence is a fact, no obstacle.
    let greeted = cell.greet(&mut container).is_ok();
    let state = cell.state(&container.id)?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let lines = fs::read_to_string(cell.shared_dir().join("marker")).map_or(0, |text| text.lines().count());
    evidence.inside("marker.lines", lines, format!("witness a: {marker}, read on the node"));
    evidence.inside("witness.called", greeted, "witness a: its hello");
    evidence.inside("state.status", state.status.clone(), "runtime: state");
    let runs: Vec<_> = trace.execs().filter(|exec| exec.filename == WITNESS_PATH).collect();
    evidence.kernel("execs", runs.len(), "tp_btf/sched_process_exec, up to the fence");
    let early = runs.iter().filter(|exec| exec.event.time_ns < start.started_ns).count();
    evidence.kernel(
        "execs.before_start",
        early,
        "tp_btf/sched_process_exec against CLOCK_BOOTTIME of the call",
    );
    evidence.kernel("state.status", state.status, "runtime: state");
    facts::keep_trace(&mut evidence, &trace, |kind| matches!(kind, EventKind::Exec { .. }));
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (lines, called, status) =
        (side.number("marker.lines")?, side.flag("witness.called")?, side.text("state.status")?);
    Ok(Finding::new(
        lines == 1 && called && status == "running",
        "one line in the marker file, the program calls, and the status is running",
        format!("{lines} lines, the program called: {called}, status {status}"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (execs, early, status) =
        (side.number("execs")?, side.number("execs.before_start")?, side.text("state.status")?);
    Ok(Finding::new(
        execs == 1 && early == 0 && status == "running",
        "one exec of the program, after start was called, and status running",
        format!("{execs} execs, {early} of them before start, status {status}"),
    ))
}
