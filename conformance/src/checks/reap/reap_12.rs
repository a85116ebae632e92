//! REAP-12: a stream of orphans does not use up the pod's tasks.

use std::time::{Duration, Instant};

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;
use serde::Deserialize;

use super::orphans::Orphans;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, joining};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::cgroup::Cgroup;

/// `pids.max` of the container: its program, the process in between, and the orphans.
const LIMIT: u64 = 32;
const ORPHANS: u64 = 20 * LIMIT;
const UNREAPED: u64 = LIMIT / 2;
const EAGAIN: i32 = 11;
/// How long a sandbox program may take for all of them.
const PATIENCE_SECONDS: f64 = 10.0;

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-12",
    name: "a_stream_of_orphans_never_exhausts_pids_max",
    level: Level::Must,
    statement: "A continuous stream of orphans never exhausts pids.max of the pod, because dead ones are released.",
    source: "kernel cgroup-v2.rst, pids controller; wait(2)",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and a container that joins its PID namespace and may have 32 tasks. Its program makes 640 \
               orphans, one after the other, each of which ends at once; it waits (at most ten seconds in all) \
               while more than 16 of their numbers are still taken, as those of zombies are.",
    inside: "No fork fails, never more than 16 are unreaped when the next one is made, and in the end none is.",
    kernel: "No clone fails with EAGAIN, pids.events counts no refusal, all 640 are released, and pids.current is \
             what it was before.",
    defects: &[("reap-12-gives-up", "pause stops reaping after a hundred orphans")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// What the witness tells of its stream.
#[derive(Debug, Deserialize)]
struct Streamed {
    pids: Vec<u32>,
    errno: i32,
    most_unreaped: u64,
    left: u64,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let sandbox = cell.sandbox("pause")?;
    let limited = Bundle::witness("a").with("/linux/resources/pids/limit", LIMIT);
    let mut member = cell.container(&joining(limited, sandbox.pid, true))?;
    let cgroup = Cgroup::of(member.outer_pid()).unwrap_or_else(|| member.v2());
    let tasks = |what: &str| -> Result<u64, Obstacle> {
        let text = cgroup.read(what).map_err(|source| Obstacle::Node {
            op: "read",
            path: cgroup.dir().join(what),
            source,
        })?;
        text.parse().map_err(|_text| Obstacle::Runtime(format!("{what} of the container is {text}")))
    };
    let limit = tasks("pids.max")?;
    let before = tasks("pids.current")?;
    let patience = cell.deadline(PATIENCE_SECONDS);
    let timeout_ms = millis(patience);
    let command = Command::StreamOrphans {
        count: u32::try_from(ORPHANS).unwrap_or(u32::MAX),
        at_most: u32::try_from(UNREAPED).unwrap_or(u32::MAX),
        timeout_ms,
    };
    let timeout = 2 * patience + cell.deadline(60.0);
    let streamed: Streamed = member.witness()?.ask_as(command, timeout)?;
    let mut after = tasks("pids.current")?;
    // A number is free a moment before the task is taken off the count.
    let settled = Instant::now() + cell.deadline(1.0);
    while after > before && streamed.left == 0 && Instant::now() < settled {
        crate::observe::pause(Duration::from_millis(2));
        after = tasks("pids.current")?;
    }
    let trace = cell.trace()?;
    let orphans = Orphans::found(&trace, &member, streamed.pids.clone())?;
    let fates = orphans.fates(&trace);

    let mut evidence = Evidence::default();
    let source = "witness a: its stream of orphans";
    evidence.inside("made", streamed.pids.len(), source);
    evidence.inside("errno", streamed.errno, format!("{source}, errno of fork(2)"));
    evidence.inside("most.unreaped", streamed.most_unreaped, format!("{source}, kill(pid, 0) before each"));
    evidence.inside("left", streamed.left, format!("{source}, kill(pid, 0) at the end"));
    facts::told(&mut evidence, "pids.max", limit, "cgroup: pids.max of the container");
    evidence.kernel("ended", fates.ended, "tp_btf/sched_process_exit");
    evidence.kernel("reaped", fates.n_reaped_by(sandbox.pid), orphans.source_of_reaps(&trace));
    let refused = trace
        .events
        .iter()
        .filter(|event| matches!(event.kind, EventKind::CloneFailed { errno: EAGAIN, .. }))
        .count();
    evidence.kernel("refused", refused, "fexit of clone: EAGAIN in this scope");
    let source = format!("cgroup: {}", cgroup.dir().display());
    evidence.kernel_if("pids.events.max", cgroup.keyed("pids.events", "max"), source.clone());
    evidence.kernel("pids.before", before, format!("{source}, pids.current"));
    evidence.kernel("pids.after", after, format!("{source}, pids.current"));
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::CloneFailed { .. }) || orphans.concerns(kind, sandbox.pid)
    });
    Ok(evidence)
}

fn needs_limit(side: &Side<'_>) -> Result<(), Gap> {
    let limit = side.number("pids.max")?;
    if limit == LIMIT { Ok(()) } else { Err(Gap(format!("a pids.max of {LIMIT} (it is {limit})"))) }
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    needs_limit(side)?;
    let (made, errno) = (side.number("made")?, side.signed("errno")?);
    let (most, left) = (side.number("most.unreaped")?, side.number("left")?);
    Ok(Finding::new(
        made == ORPHANS && errno == 0 && most <= UNREAPED && left == 0,
        format!("{ORPHANS} orphans without a refused fork, never more than {UNREAPED} of them unreaped"),
        format!("{made} orphans, then errno {errno} (0: none); at most {most} unreaped, {left} in the end"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    needs_limit(side)?;
    let (ended, reaped) = (side.number("ended")?, side.number("reaped")?);
    let (refused, hits) = (side.number("refused")?, side.number("pids.events.max")?);
    let (before, after) = (side.number("pids.before")?, side.number("pids.after")?);
    Ok(Finding::new(
        ended == ORPHANS && reaped == ended && refused == 0 && hits == 0 && after <= before,
        format!("{ORPHANS} ends and releases, no clone refused, pids.current as before"),
        format!(
            "{ended} ends, {reaped} releases, {refused} clones refused and pids.max hit {hits} times; \
             pids.current is {after} after {before}"
        ),
    ))
}
