//! CG-28: limits are there before the first instruction of the program.

use podproof_ebpf::event::EventKind;
use podproof_witness::{SOCKET_DIR, WITNESS_PATH};

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::is;

const REQUIREMENT: Requirement = Requirement {
    id: "CG-28",
    name: "limits_come_before_the_program",
    level: Level::Must,
    statement: "The process is in its cgroup with limits written before the first user instruction.",
    source: "runtime-spec runtime.md#lifecycle step 2",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container with a memory limit whose program touches more than that as its first statement, and then \
               writes a marker. A limit that comes late kills too, but after the marker.",
    inside: "The program is killed by SIGKILL, and there is no marker.",
    kernel: "memory.max is the limit between create and start; the program is executed in the container's cgroup \
             (sched_process_exec); the OOM killer takes it there (mark_victim).",
    defects: &[
        ("cg-28-late-limits", "the memory limit is written after start"),
        ("cg-28-lifted-at-start", "start lifts the memory limit for its own work"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Limits,
    turn: Turn::Alone,
    observe,
    rules: Rules { inside, kernel },
};

/// The limit, bytes: room for the start of a runtime written in Go.
const LIMIT: u64 = 32 << 20;
/// What the program touches, bytes.
const TOUCHED: u64 = 48 << 20;
const SIGKILL: u64 = 9;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let (bytes, marker) = (TOUCHED.to_string(), format!("{SOCKET_DIR}/marker"));
    let bundle = Bundle::witness("a").args(&[WITNESS_PATH, "touch", &bytes, "mark", &marker]);
    let container = cell.create(&facts::memory_limited(bundle, LIMIT))?;
    let cgroup = container.v2();
    let limit = cgroup.read("memory.max").unwrap_or_else(|error| error.to_string());
    let groups = cell.run.layout.ids(&container.cgroup);
    cell.start(&container)?;
    let status = cell.wait(container.pid, cell.deadline(20.0))?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let source = "node: waitid(2) by the suite";
    if let Some(status) = status {
        use std::os::unix::process::ExitStatusExt as _;
        evidence.inside("ended.signal", status.signal().unwrap_or(0), source);
    }
    let marked = cell.shared_dir().join("marker").exists();
    evidence.inside("marker", marked, format!("witness a: {marker}, looked for on the node"));
    let source = format!("{}/memory.max, between create and start", cgroup.dir().display());
    evidence.kernel("memory.max", limit, source);
    evidence.kernel("cgroups", groups, "inodes of the container's cgroup directories, before start");
    if let Some(exec) = trace.exec_of(container.pid, WITNESS_PATH) {
        evidence.kernel("exec.cgroup", exec.task.cgroup_id, exec.event.source.clone());
    }
    let victim = trace
        .events
        .iter()
        .any(|event| matches!(event.kind, EventKind::OomVictim { task, .. } if is(task, container.pid)));
    evidence.kernel("oom.victim", victim, "tp_btf/mark_victim, up to the fence");
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(
            kind,
            EventKind::CgroupMkdir { .. }
                | EventKind::CgroupAttach { .. }
                | EventKind::Exec { .. }
                | EventKind::OomVictim { .. }
        )
    });
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (signal, marked) = (side.number("ended.signal")?, side.flag("marker")?);
    let observed = match (signal, marked) {
        (0, _) => format!("it ended by itself, marker written: {marked}"),
        (signal, _) => format!("it ended by signal {signal}, marker written: {marked}"),
    };
    let expected = "the program is killed before it writes its marker";
    Ok(Finding::new(signal == SIGKILL && !marked, expected, observed))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (limit, victim) = (side.text("memory.max")?, side.flag("oom.victim")?);
    let (groups, cgroup) = (side.set("cgroups")?, side.number("exec.cgroup")?);
    let placed = groups.contains(&cgroup);
    let observed = format!(
        "memory.max is {limit} before start; the exec is in cgroup {cgroup}, the container's: {placed}; taken by the \
         OOM killer: {victim}"
    );
    let expected =
        format!("memory.max is {LIMIT} before start, the exec in the container's cgroup, an OOM kill");
    Ok(Finding::new(limit == LIMIT.to_string() && placed && victim, expected, observed))
}
