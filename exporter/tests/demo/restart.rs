//! The exporter ends and starts again under the same Prometheus. Its counters begin at 0 then, which must not look as if anything had
//! happened in that moment; and what was there before is there in the first scrape.

use std::time::Instant;

use procfs::{CurrentSI as _, KernelStats};
use serde_json::Map;

use crate::pods::{self, NAMESPACE, Pods, STEADY};
use crate::process::{Process, get};
use crate::prometheus::Prometheus;
use crate::support::{samples, until};
use crate::{EXPORTER, PATIENCE, Res, scrapes};

/// A pod with zombies whose parent, which is not PID 1, does not wait: they end once it has become another program.
pub(crate) const KEEPER: &str = "keeper";
const SCRIPT: &str =
    "(for i in 1 2 3 4 5; do busybox sleep 3 & done; exec busybox sleep 100000) & exec busybox sleep 100000";
const N_ZOMBIES: f64 = 5.0;
/// Both of them sleep.
const N_PROCESSES: f64 = 2.0;

/// Scrapes of the old one that are looked at.
const N_BEFORE: f64 = 4.0;
/// Those of the new one: 40 s, and that is longer than any alert waits that could fire.
const N_SCRAPES: f64 = 20.0;

const STARTED: &str = "podproof_accounting_start_time_seconds";

/// What was really forked until a moment.
struct Forked {
    /// In the pod, by itself.
    in_pod: f64,
    /// On the machine, tasks of all kinds: `processes` of proc_stat(5).
    on_node: f64,
}

impl Forked {
    fn read() -> Res<Self> {
        let on_node = KernelStats::current()?.processes;
        Ok(Self { in_pod: f64::from(pods::forked()?), on_node: f64::from(u32::try_from(on_node)?) })
    }
}

/// Ends the exporter and has `start` make it anew; the new one, with which nothing was found wrong.
pub(crate) fn check(
    pods: &Pods,
    prometheus: &Prometheus,
    exporter: Process,
    start: impl FnOnce() -> Res<Process>,
) -> Res<Process> {
    pods.start(NAMESPACE, KEEPER, SCRIPT, &Map::new())?;
    let zombies = of_keeper("zombie_processes", ",parent=\"other\"");
    until("a scrape with the zombies", PATIENCE, || {
        Ok(prometheus.value(&zombies)?.filter(|found| *found == N_ZOMBIES))
    })?;
    let started = prometheus.value(STARTED)?.ok_or("nothing tells when the counters began")?;
    // In this order: what is forked meanwhile was really forked, and is not looked at.
    let (before, then) = (Forked::read()?, Instant::now());
    scraped(prometheus, then, N_BEFORE)?;

    exporter.end()?;
    until("a scrape that fails", PATIENCE, || {
        Ok(prometheus.value("up{job=\"podproof\"}")?.filter(|up| *up == 0.0))
    })?;
    let starting = Instant::now();
    let exporter = start()?;
    let (ready, at_ready) = (Instant::now(), Forked::read()?);
    first_scrape(starting)?;

    scraped(prometheus, ready, N_SCRAPES)?;
    scrapes::check(prometheus, ready.elapsed())?;
    if prometheus.value(STARTED)?.is_none_or(|now| now <= started) {
        return Err(format!("{STARTED} is still {started}").into());
    }
    // The question that finds no counter decreased at other times does find this.
    let forks = "podproof_forks_total";
    if !scrapes::decreased(prometheus, then.elapsed())?.iter().any(|name| name == forks) {
        return Err(format!("{forks} has not begun anew").into());
    }
    let in_pod = format!("{forks}{{pod=\"{}\",container=\"main\",kind=\"process\"}}", STEADY.pod);
    check_increase(prometheus, &in_pod, then, || {
        // It counts two at a time.
        let now = f64::from(pods::forked()?) + 2.0;
        Ok((now - before.in_pod, now - at_ready.in_pod))
    })?;
    check_increase(prometheus, "podproof_node_forks_total", then, || {
        let now = Forked::read()?.on_node;
        Ok((now - before.on_node, now - at_ready.on_node))
    })?;
    Ok(exporter)
}

/// Waits until there were so many scrapes since a moment.
fn scraped(prometheus: &Prometheus, since: Instant, n_scrapes: f64) -> Res<f64> {
    until("scrapes", PATIENCE, || {
        // No range is empty.
        let range_ms = since.elapsed().as_millis().max(1);
        let n = format!("count_over_time(up{{job=\"podproof\"}}[{range_ms}ms])");
        Ok(prometheus.value(&n)?.filter(|n| *n >= n_scrapes))
    })
}

/// Fails unless the first scrape of an exporter that was started at `starting` shows what was there before.
fn first_scrape(starting: Instant) -> Res<()> {
    let samples = samples(&get(EXPORTER, "/metrics")?.1)?;
    let value = |name: &str, labels: &str| -> Res<f64> {
        let series = of_keeper(name, labels);
        samples.get(&series).copied().ok_or_else(|| format!("the first scrape has no {series}").into())
    };
    for (name, labels, wanted) in [
        ("zombie_processes", ",parent=\"other\"", N_ZOMBIES),
        ("zombie_processes", ",parent=\"init\"", 0.0),
        ("processes", "", N_PROCESSES),
    ] {
        let found = value(name, labels)?;
        if found != wanted {
            return Err(format!("{name} of {KEEPER} is {found} in the first scrape, not {wanted}").into());
        }
    }
    // When they ended is known to nobody: their age is that of the exporter.
    let age = value("zombie_oldest_age_seconds", "")?;
    if age < 0.0 || age > starting.elapsed().as_secs_f64() {
        return Err(format!("the zombies of {KEEPER} are {age} s old in the first scrape").into());
    }
    Ok(())
}

/// A series of the pod, as it stands in a scrape.
fn of_keeper(name: &str, labels: &str) -> String {
    format!("podproof_{name}{{namespace=\"{NAMESPACE}\",pod=\"{KEEPER}\",container=\"main\"{labels}}}")
}

/// Fails when a counter has increased since `then` by more than what really happened since then, or by too little of what did while
/// the new exporter was there; `really` gives both.
fn check_increase(
    prometheus: &Prometheus,
    counter: &str,
    then: Instant,
    really: impl FnOnce() -> Res<(f64, f64)>,
) -> Res<()> {
    let range = format!("{}ms", then.elapsed().as_millis());
    let value = |expression: String| -> Res<f64> {
        prometheus.value(&expression)?.ok_or_else(|| format!("{expression} has no value").into())
    };
    let n_samples = value(format!("max(count_over_time({counter}[{range}]))"))?;
    let increase = value(format!("sum(increase({counter}[{range}]))"))?;
    let (at_most, seen) = really()?;
    // What is extrapolated to both ends of the range: at most 1.1 of the mean time between samples each (PromQL, extrapolatedRate).
    let at_most = at_most * (1.0 + 2.2 / (n_samples - 1.0));
    // The last scrape is not of now.
    let at_least = seen / 2.0;
    println!("{counter}: {increase:.1} more across the restart; {at_least:.1} to {at_most:.1} are possible");
    if increase > at_most || increase < at_least {
        return Err(format!("{counter} has increased by {increase}, not by {at_least} to {at_most}").into());
    }
    Ok(())
}
