//! Containers that end before anybody looks.

use crate::container::{Container, run};
use crate::exporter::Exporter;
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] =
    &[("short_lived::every_run_counts_for_its_container", every_run_counts_for_its_container)];

/// More than the exporter looks while they run.
const RUNS: u32 = 20;
/// PID 1 of a namespace of its own fails, and so does the program that waits for it.
const FAILS: &str = "/bin/busybox unshare -p -f /bin/busybox sh -c 'exit 3' || true";

fn every_run_counts_for_its_container() -> Res<()> {
    let exporter = Exporter::start(&[])?;
    // Keeps the folder of all others.
    let _keeper = Container::new("c".repeat(64))?;
    let before = exporter.scrape()?;
    let name = "d".repeat(12);
    let mut last = None;
    for n in 0..RUNS {
        let container = Container::new(format!("{name}{n:052x}"))?;
        run(&container.path, FAILS)?;
        container.remove()?;
        last = Some(container);
    }
    let container = last.ok_or("nothing was run")?;
    let scrape = exporter.scrape()?;
    let n = f64::from(RUNS);
    for (name, labels, wanted) in [
        ("init_exits_total", "reason=\"error\"", n),
        ("exits_total", "reason=\"error\"", 2.0 * n),
        ("exits_total", "reason=\"success\"", n),
        ("execs_total", "", 2.0 * n),
        ("cgroup_migrations_total", "direction=\"in\"", n),
    ] {
        let series = container.series(name, labels);
        expect(&series, scrape.get(&series).copied(), Some(wanted))?;
    }
    let grown = |name: &str| Some(scrape.get(name)? - before.get(name)?);
    for (name, wanted) in [
        ("podproof_unattributed_events_total{event=\"init_exit\",reason=\"no_cgroup\"}", 0.0),
        ("podproof_cgroup_resolutions_total{source=\"mkdir_event\",result=\"ok\"}", n),
        ("podproof_cgroup_resolutions_total{source=\"walk\",result=\"gone\"}", 0.0),
    ] {
        expect(name, grown(name), Some(wanted))?;
    }
    expect(
        "paths that were refused",
        scrape.get("podproof_events_lost_total{event=\"paths\",reason=\"map_full\"}").copied(),
        Some(0.0),
    )
}
