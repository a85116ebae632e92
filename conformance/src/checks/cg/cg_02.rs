//! CG-02: going over the memory limit is stopped inside the container.

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;
use serde::Deserialize;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::cgroup::Cgroup;

const REQUIREMENT: Requirement = Requirement {
    id: "CG-02",
    name: "memory_limit_stops_its_own_container_only",
    level: Level::Must,
    statement: "Going over memory.max is stopped inside the container's cgroup; siblings and node keep running.",
    source: "kernel cgroup-v2 memory.max",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "Two containers of a pod: a with a memory limit, b without. A child of a's program allocates twice the \
               limit while b notes a heartbeat.",
    inside: "a's child is killed by SIGKILL; b's heartbeat has no gap.",
    kernel: "The OOM killer takes a victim in a's cgroup and none elsewhere (mark_victim), memory.events.local counts \
             a kill in a's cgroup and none in b's, and b's program has not exited.",
    defects: &[
        ("cg-02-no-memory-limit", "the memory controller's part of the configuration is ignored"),
        ("cg-02-limit-on-pod", "the memory limit stands on the cgroup above the container's"),
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
const LIMIT: u64 = 48 << 20;
/// The longest pause of the sibling that is put down to a busy machine, seconds.
const GAP: f64 = 2.0;
const SIGKILL: u64 = 9;

#[derive(Debug, Deserialize)]
struct Allocated {
    touched_bytes: u64,
    status: u64,
}

#[derive(Debug, Deserialize)]
struct Beats {
    beats: u64,
    longest_gap_ms: u64,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut a = cell.container(&facts::memory_limited(Bundle::witness("a"), LIMIT))?;
    let mut b = cell.container(&Bundle::witness("b"))?;
    let timeout = cell.deadline(20.0);
    b.witness()?.ask(Command::StartHeartbeat { interval_ms: 20 }, timeout)?;
    let allocated: Allocated = a.witness()?.ask_as(Command::AllocateInChild { bytes: 2 * LIMIT }, timeout)?;
    let beats: Beats = b.witness()?.ask_as(Command::StopHeartbeat, timeout)?;

    let mut evidence = Evidence::default();
    let source = "witness a: wait status of the child that allocates";
    evidence.inside("child.signal", allocated.status & 0x7f, source);
    evidence.inside("child.touched_bytes", allocated.touched_bytes, "witness a: counted by that child");
    evidence.inside("b.beats", beats.beats, "witness b: its heartbeat");
    evidence.inside("b.longest_gap_ms", beats.longest_gap_ms, "witness b: its heartbeat");
    let gap = millis(cell.deadline(GAP));
    evidence.inside("b.gap_limit_ms", gap, "suite: scaled for this machine");

    let (in_a, in_b) = (own_cgroup(&a), own_cgroup(&b));
    let trace = cell.trace()?;
    let victims: Vec<u64> = trace
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::OomVictim { cgroup_id, .. } => Some(*cgroup_id),
            _ => None,
        })
        .collect();
    let (own, elsewhere): (Vec<u64>, Vec<u64>) =
        victims.into_iter().partition(|id| in_a.id().is_ok_and(|of_a| of_a == *id));
    evidence.kernel("victims.in_a", own.len(), "tp_btf/mark_victim, up to the fence");
    evidence.kernel("victims.elsewhere", elsewhere.len(), "tp_btf/mark_victim, up to the fence");
    for (name, cgroup) in [("a", &in_a), ("b", &in_b)] {
        let source = format!("{}/memory.events.local", cgroup.dir().display());
        let kills = cgroup.keyed("memory.events.local", "oom_kill");
        evidence.kernel_if(&format!("oom_kill.{name}"), kills, source);
    }
    let source = format!("{}/memory.events.local", in_a.dir().display());
    evidence.kernel_if("limit_reached.a", in_a.keyed("memory.events.local", "oom"), source);
    let source = format!("{}/memory.max", a.v2().dir().display());
    evidence.kernel_if("memory.max.a", a.v2().read("memory.max").ok(), source);
    evidence.kernel("b.ended", trace.end_of(b.pid).is_some(), "tp_btf/sched_process_exit, up to the fence");
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::OomVictim { .. } | EventKind::Exec { .. } | EventKind::Exit { .. })
    });
    Ok(evidence)
}

/// The cgroup that the main process is in: the container's, or one that the runtime made below it.
fn own_cgroup(container: &Container) -> Cgroup {
    Cgroup::of(container.pid).unwrap_or_else(|| container.v2())
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (signal, touched) = (side.number("child.signal")?, side.number("child.touched_bytes")?);
    let (gap, limit) = (side.number("b.longest_gap_ms")?, side.number("b.gap_limit_ms")?);
    let beats = side.number("b.beats")?;
    let expected =
        format!("the child is killed before it has {} bytes, and b never pauses for {limit} ms", 2 * LIMIT);
    let observed = format!(
        "the child touched {touched} bytes and ended by signal {signal} (0: by itself); b beat {beats} times, with \
         {gap} ms at most between two"
    );
    let holds = signal == SIGKILL && touched < 2 * LIMIT && gap < limit;
    Ok(Finding::new(holds, expected, observed))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (own, elsewhere) = (side.number("victims.in_a")?, side.number("victims.elsewhere")?);
    let (kills_a, kills_b) = (side.number("oom_kill.a")?, side.number("oom_kill.b")?);
    let ended = side.flag("b.ended")?;
    // Where the limit stands: a limit of the pod's cgroup kills in a as well, and would kill in b.
    let (limit, reached) = (side.text("memory.max.a")?, side.number("limit_reached.a")?);
    let observed = format!(
        "victims in a's cgroup: {own}, elsewhere: {elsewhere}; oom_kill of a: {kills_a}, of b: {kills_b}; memory.max \
         of a: {limit}, reached there {reached} times; b ended: {ended}"
    );
    let is_own_limit = limit == LIMIT.to_string() && reached > 0;
    let holds = own > 0 && elsewhere == 0 && kills_a > 0 && kills_b == 0 && is_own_limit && !ended;
    Ok(Finding::new(holds, "a victim of the OOM killer in a's cgroup only, and b goes on", observed))
}
