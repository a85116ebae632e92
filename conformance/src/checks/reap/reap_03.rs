//! REAP-03: how long an orphan is a zombie.

use std::time::Duration;

use podproof_witness::Command;
use serde::Deserialize;
use serde_json::Value;

use super::orphans::Orphans;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const ORPHANS: u32 = 100;
/// What is a low latency, on a machine that is not emulated.
const LIMIT_SECONDS: f64 = 0.1;
/// How long a sandbox program may take for all of them, before they are made without waiting.
const PATIENCE_SECONDS: f64 = 5.0;

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-03",
    name: "an_orphan_is_reaped_at_once",
    level: Level::Should,
    statement: "Reaping latency of a single orphan stays low (p99 below 100 ms on an idle machine).",
    source: "Kubernetes build/pause (reaps on SIGCHLD); wait(2)",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and a container that joins its PID namespace. The container's program makes a hundred \
               orphans, each when the one before is gone. Nothing else of the suite runs. The limit is scaled on \
               emulated machines.",
    inside: "From the making of an orphan until its number is free (kill(pid, 0) gives ESRCH).",
    kernel: "From the end of each orphan (sched_process_exit) to its release.",
    defects: &[("reap-03-polls", "pause looks for dead children every second instead of at SIGCHLD")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Alone,
    observe,
    rules: Rules { inside, kernel },
};

/// What the witness tells of its stream.
#[derive(Debug, Deserialize)]
struct Streamed {
    pids: Vec<u32>,
    gone_after_us: Vec<u64>,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &["a"])?;
    let [member] = exactly(&mut pod.members)?;
    let patience = cell.deadline(PATIENCE_SECONDS);
    let timeout_ms = millis(patience);
    let command = Command::StreamOrphans { count: ORPHANS, at_most: 0, timeout_ms };
    let streamed: Streamed = member.witness()?.ask_as(command, 2 * patience + cell.deadline(30.0))?;
    let trace = cell.trace()?;
    let orphans = Orphans::found(&trace, member, streamed.pids.clone())?;
    let fates = orphans.fates(&trace);

    let mut evidence = Evidence::default();
    let limit = cell.deadline(LIMIT_SECONDS);
    facts::told(&mut evidence, "limit.us", micros(limit), "the suite: 100 ms, scaled for this machine");
    facts::told(&mut evidence, "made", streamed.pids.len(), "witness a: numbers of the orphans");
    evidence.inside("gone.after_us", streamed.gone_after_us, "witness a: kill(pid, 0), every millisecond");
    let delays: Vec<Value> = fates.delays.iter().map(|delay| micros(*delay).into()).collect();
    evidence.kernel("reaped.after_us", delays, orphans.source_of_reaps(&trace));
    facts::keep_trace(&mut evidence, &trace, |kind| orphans.concerns(kind, pod.sandbox.pid));
    Ok(evidence)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The 99th percentile, by nearest rank.
fn p99(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    let rank = (values.len() * 99).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

fn finding(side: &Side<'_>, key: &str, what: &str) -> Result<Finding, Gap> {
    let (values, limit, made) = (side.numbers(key)?, side.number("limit.us")?, side.number("made")?);
    if made != u64::from(ORPHANS) {
        return Err(Gap(format!("{ORPHANS} orphans (there are {made})")));
    }
    let gone = values.len();
    let p99 = p99(values);
    Ok(Finding::new(
        gone as u64 == made && p99 <= limit,
        format!("{made} orphans are gone, 99 % of them {limit} us after {what} at most"),
        format!("{gone} are gone, the 99th percentile is {p99} us after {what}"),
    ))
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    finding(side, "gone.after_us", "they were made")
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    finding(side, "reaped.after_us", "their end")
}

#[cfg(test)]
mod tests {
    use super::p99;

    #[test]
    fn one_in_a_hundred_may_be_late() {
        assert_eq!(p99((1..=100).collect()), 99);
        assert_eq!(p99(vec![7, 3]), 7);
        assert_eq!(p99(Vec::new()), 0);
    }
}
