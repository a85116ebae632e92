//! CG-10: the CPU quota is written and holds.

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;
use serde::Deserialize;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process::boot_ns;

const REQUIREMENT: Requirement = Requirement {
    id: "CG-10",
    name: "cpu_quota_holds",
    level: Level::Must,
    statement: "CPU quota and period are written to cpu.max and hold in practice.",
    source: "runtime-spec config-linux.md#cpu; kernel cpu.max",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container with a fifth of one CPU; a child of its program spins for five seconds.",
    inside: "cpu.max of the container's cgroup, and the CPU time that the child measured: at most a tenth more than \
             the quota allows.",
    kernel: "The same cpu.max; usage_usec of the container's cgroup over the same time (cpu.stat, read on the node), \
             and nr_throttled above 0.",
    defects: &[
        ("cg-10-quota-on-parent", "the quota is written to the parent of the container's cgroup"),
        ("cg-10-other-period", "quota and period are both halved"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Limits,
    turn: Turn::Alone,
    observe,
    rules: Rules { inside, kernel },
};

/// CPU time per period, microseconds.
const QUOTA_US: u64 = 20_000;
/// The kernel's own default period.
const PERIOD_US: u64 = 100_000;
/// How long the child spins.
const WALL_MS: u64 = 5_000;

#[derive(Debug, Deserialize)]
struct Spun {
    cpu_ns: u64,
    wall_ns: u64,
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let bundle = Bundle::witness("a")
        .with("/linux/resources/cpu/quota", QUOTA_US)
        .with("/linux/resources/cpu/period", PERIOD_US);
    let mut container = cell.container(&bundle)?;
    let cgroup = container.v2();
    let usage = || cgroup.keyed("cpu.stat", "usage_usec");
    let (before, begin) = (usage(), boot_ns());
    let spin = Command::Spin { wall_ms: WALL_MS };
    let spun: Spun = container.witness()?.ask_as(spin, cell.deadline(30.0))?;
    let (after, end) = (usage(), boot_ns());
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let stat = format!("{}/cpu.stat, read on the node", cgroup.dir().display());
    let limit = cgroup.read("cpu.max").unwrap_or_else(|error| error.to_string());
    facts::told(&mut evidence, "cpu.max", limit, &format!("{}/cpu.max", cgroup.dir().display()));
    let source = "witness a: CLOCK_PROCESS_CPUTIME_ID of the child that spins";
    evidence.inside("spin.cpu_us", spun.cpu_ns / 1_000, source);
    evidence.inside("spin.wall_us", spun.wall_ns / 1_000, "witness a: CLOCK_MONOTONIC of that child");
    let used = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    evidence.kernel_if("usage.cpu_us", used, stat.clone());
    evidence.kernel("usage.wall_us", (end - begin) / 1_000, "node: CLOCK_BOOTTIME between the two reads");
    evidence.kernel_if("nr_throttled", cgroup.keyed("cpu.stat", "nr_throttled"), stat);
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Exec { .. } | EventKind::CgroupMkdir { .. })
    });
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let written = written(side)?;
    Ok(written.and(held(side.number("spin.cpu_us")?, side.number("spin.wall_us")?)?))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let written = written(side)?;
    let held = held(side.number("usage.cpu_us")?, side.number("usage.wall_us")?)?;
    let throttled = side.number("nr_throttled")?;
    let expected = "the container's cgroup is throttled";
    let observed = format!("throttled in {throttled} periods");
    Ok(written.and(held).and(Finding::new(throttled > 0, expected, observed)))
}

fn written(side: &Side<'_>) -> Result<Finding, Gap> {
    let (limit, configured) = (side.text("cpu.max")?, format!("{QUOTA_US} {PERIOD_US}"));
    Ok(Finding::new(limit == configured, format!("cpu.max is {configured}"), format!("cpu.max is {limit}")))
}

fn held(cpu_us: u64, wall_us: u64) -> Result<Finding, Gap> {
    let allowed = wall_us * QUOTA_US / PERIOD_US;
    let observed = format!("{} ms of CPU time in {} ms", cpu_us / 1_000, wall_us / 1_000);
    // The quota is a ceiling: on a busy machine a spinner gets less. Far below it says nothing about the ceiling.
    if cpu_us < allowed / 2 {
        return Err(Gap(format!("a machine with CPU time to spare: the spinner got {observed}")));
    }
    let expected = format!("at most {} ms of CPU time, and a tenth", allowed / 1_000);
    Ok(Finding::new(cpu_us <= allowed + allowed / 10, expected, observed))
}
