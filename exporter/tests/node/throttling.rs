//! CPU bandwidth: what the kernel says in `cpu.stat` against the histogram.

use std::fs;
use std::path::Path;

use crate::container::Container;
use crate::exporter::{Exporter, until};
use crate::process::Process;
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("throttling::episodes_add_up_to_what_the_kernel_says", episodes_add_up),
    ("throttling::nothing_is_hooked_unless_it_is_asked_for", nothing_is_hooked),
];

const ENABLE: &str = "--collector.throttle-histogram";
const HOOKS: [(&str, &str); 2] = [("unthrottle_cfs_rq", "fentry"), ("unthrottle_cfs_rq_return", "fexit")];
/// Periods in which a busy program is held back.
const PERIODS: f64 = 10.0;

fn episodes_add_up() -> Res<()> {
    let exporter = Exporter::start(&[ENABLE])?;
    let scrape = exporter.scrape()?;
    for (probe, mechanism) in HOOKS {
        let series = format!(
            "podproof_probe_attached{{probe=\"{probe}\",mechanism=\"{mechanism}\",required=\"false\"}}"
        );
        expect(&series, scrape.get(&series).copied(), Some(1.0))?;
    }
    let container = Container::new("5".repeat(64))?;
    for above in ["/sys/fs/cgroup", "/sys/fs/cgroup/docker"] {
        fs::write(Path::new(above).join("cgroup.subtree_control"), "+cpu")?;
    }
    fs::write(container.path.join("cpu.max"), "20000 100000")?;
    let name =
        |end: &str, labels: &str| container.series(&format!("cpu_throttle_duration_seconds_{end}"), labels);
    let [sum, count] = ["sum", "count"].map(|end| name(end, ""));
    until("the container", || Ok(exporter.scrape()?.get(&count).copied()))?;

    let busy = Process::start(&["sh", "-c", "while :; do :; done"], &container.path)?;
    until(
        "the quota to be used up",
        || Ok((cpu_stat(&container, "nr_throttled")? >= PERIODS).then_some(())),
    )?;
    drop(busy);
    // Both grow when an episode ends, which the last one may do between the two looks.
    let (episodes, below) = until("the sum that the kernel says", || {
        let scrape = exporter.scrape()?;
        let of = |series: &str| scrape.get(series).copied().ok_or_else(|| format!("{series} is gone"));
        let (seconds, episodes, below) = (of(&sum)?, of(&count)?, of(&name("bucket", "le=\"10\""))?);
        let usec = cpu_stat(&container, "throttled_usec")?;
        // The kernel cuts off what is below a microsecond.
        let is_same = (seconds * 1e6 - usec).abs() <= 1.0;
        Ok((is_same && seconds > 0.0).then_some((episodes, below)))
    })?;
    // One program is held back about once in a period; a late timer counts for several, and one that is moved to another CPU twice.
    let periods = cpu_stat(&container, "nr_throttled")?;
    let is_near = episodes >= periods / 2.0 && episodes <= periods * 2.0;
    expect(&format!("{episodes} episodes in {periods} periods"), is_near, true)?;
    expect("episodes below 10 s", below, episodes)
}

/// A value of `cpu.stat`.
fn cpu_stat(container: &Container, key: &str) -> Res<f64> {
    let text = fs::read_to_string(container.path.join("cpu.stat"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    Ok(value.ok_or_else(|| format!("no {key} in cpu.stat"))?.parse()?)
}

fn nothing_is_hooked() -> Res<()> {
    let container = Container::new("6".repeat(64))?;
    let exporter = Exporter::start(&["--strict"])?;
    let count = container.series("cpu_throttle_duration_seconds_count", "");
    let execs = container.series("execs_total", "");
    until("the container", || Ok(exporter.scrape()?.get(&execs).copied()))?;
    let scrape = exporter.scrape()?;
    expect("the histogram", scrape.get(&count).copied(), None)?;
    let hooked = scrape.keys().filter(|name| name.contains("unthrottle")).count();
    expect("probes of run queues", hooked, 0)
}
