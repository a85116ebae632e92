//! NS-36: offsets shift two clocks, and no other.

use std::fs;

use nix::time::{ClockId, clock_gettime};
use podproof_ebpf::event::NsKind;
use podproof_witness::Command;
use serde_json::json;

use super::{matrix, times, users};
use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const NS_PER_S: i64 = 1_000_000_000;
/// The clocks and what the container asks for, in seconds and nanoseconds.
const CLOCKS: [(&str, ClockId, i64, i64); 3] = [
    ("realtime", ClockId::CLOCK_REALTIME, 0, 0),
    ("monotonic", ClockId::CLOCK_MONOTONIC, 300_000, 500_000_000),
    ("boottime", ClockId::CLOCK_BOOTTIME, 7_000_000, 0),
];
/// What timens_offsets says of them, by [`users::words`].
const OFFSETS: &str = "monotonic 300000 500000000, boottime 7000000 0";

const REQUIREMENT: Requirement = Requirement {
    id: "NS-36",
    name: "offsets_shift_two_clocks_only",
    level: Level::Must,
    statement: "timeOffsets shift only CLOCK_MONOTONIC and CLOCK_BOOTTIME; CLOCK_REALTIME stays the node's.",
    source: "runtime-spec config-linux.md#offset-for-time-namespace; time_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container with a new time namespace and an offset for each of the two clocks. A runtime that declares a \
               version of the specification without them is skipped.",
    inside: "The witness reads the three clocks, between two readings on the node, and its /proc/self/timens_offsets.",
    kernel: "The time namespace that the program was executed in, for itself and for its children (sched_process_exec), \
             and its timens_offsets, read from outside.",
    defects: &[
        (
            "ns-36-too-late",
            "the offsets are written when a process is in the namespace, and the error is ignored",
        ),
        ("ns-36-monotonic-only", "only the offset of the monotonic clock is written"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    times::need(cell)?;
    let mut container = cell.container(&CLOCKS.into_iter().filter(|clock| clock.0 != "realtime").fold(
        times::versioned(Bundle::witness("a")).namespace("time", NsSource::New),
        |bundle, (name, _, secs, nanosecs)| {
            let offset = json!({ "secs": secs, "nanosecs": nanosecs });
            bundle.with(&format!("/linux/timeOffsets/{name}"), offset)
        },
    ))?;
    let timeout = cell.deadline(5.0);
    let mut evidence = Evidence::default();
    let before = CLOCKS.map(|(_, clock, ..)| node_ns(clock));
    let inside = container.witness()?.ask(Command::Clocks, timeout)?;
    let after = CLOCKS.map(|(_, clock, ..)| node_ns(clock));
    for (((name, ..), before), after) in CLOCKS.into_iter().zip(before).zip(after) {
        if let Some(inside) = inside[name].as_i64() {
            let source = format!("witness a: clock_gettime(2) of {name}, less a reading on the node");
            evidence.inside(&format!("{name}.least"), inside - after, format!("{source} after it"));
            evidence.inside(&format!("{name}.most"), inside - before, format!("{source} before it"));
        }
    }
    let own = Command::ReadFile { path: "/proc/self/timens_offsets".to_owned() };
    let own: String = container.witness()?.ask_as(own, timeout)?;
    evidence.inside("offsets", users::words(&own), "witness a: /proc/self/timens_offsets");
    let path = format!("/proc/{}/timens_offsets", container.outer_pid());
    if let Ok(text) = fs::read_to_string(&path) {
        evidence.kernel("offsets", users::words(&text), format!("{path}, read from outside"));
    }
    let trace = cell.trace()?;
    matrix::node(&mut evidence, &[NsKind::Time]);
    matrix::container(&mut evidence, &trace, &container, &[NsKind::Time, NsKind::TimeForChildren]);
    matrix::keep_trace(&mut evidence, &trace);
    Ok(evidence)
}

/// A clock of the node in nanoseconds.
fn node_ns(clock: ClockId) -> i64 {
    clock_gettime(clock).map_or(0, |time| time.tv_sec() * NS_PER_S + time.tv_nsec())
}

fn offsets(side: &Side<'_>) -> Result<Finding, Gap> {
    let told = side.text("offsets")?;
    let expected = format!("timens_offsets says `{OFFSETS}`");
    Ok(Finding::new(told == OFFSETS, expected, format!("timens_offsets says `{told}`")))
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let clocks = matrix::each(CLOCKS, |(name, _, secs, nanosecs)| {
        let (least, most) = (side.signed(&format!("{name}.least"))?, side.signed(&format!("{name}.most"))?);
        let asked = secs * NS_PER_S + nanosecs;
        Ok(Finding::new(
            (least..=most).contains(&asked),
            format!("{name} is ahead of the node's by {asked} ns"),
            format!("{name} is ahead by {least} to {most} ns"),
        ))
    })?;
    Ok(clocks.and(offsets(side)?))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let own = facts::all_differ(side, "time namespace", &["time.node", "time.a"])?;
    let entered = facts::all_equal(side, "time namespace", &["time.a", "time_for_children.a"])?;
    Ok(own.and(entered).and(offsets(side)?))
}
