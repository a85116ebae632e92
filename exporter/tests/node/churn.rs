//! Many cgroups that live for a moment: nothing of them stays, and no counter falls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::container::Container;
use crate::exporter::{Exporter, until};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] =
    &[("churn::nothing_of_short_lived_cgroups_stays", nothing_of_short_lived_cgroups_stays)];

/// Cgroups between two scrapes.
const BATCH: u32 = 50;
/// How long the removed are kept.
const RETENTION: Duration = Duration::from_secs(2);
/// Batches run for so long before the start that is compared with: as many of the removed are kept then as ever will be, and what a
/// process takes for them the first time it keeps for the next.
const WARM: Duration = RETENTION.saturating_mul(3);
/// Most bytes that the exporter may be bigger afterwards, however many cgroups there were: what the allocator keeps of a scrape with a
/// batch more than another had.
const MARGIN: f64 = 2_097_152.0;

fn nothing_of_short_lived_cgroups_stays() -> Res<()> {
    let is_full = std::env::var_os("PODPROOF_TEST_FULL").is_some();
    let n_batches = if is_full { 10_000 / BATCH } else { 1_000 / BATCH };
    let retention = format!("{}s", RETENTION.as_secs());
    let exporter = Exporter::start(&["--retention.deleted", &retention, "--series.max", "1000000"])?;
    // Keeps the folder of all others.
    let _keeper = Container::new("f".repeat(64))?;
    let mut churn = Churn { exporter: &exporter, last: exporter.scrape()?, current: None, n: 0 };
    let began = Instant::now();
    while began.elapsed() < WARM {
        churn.batch()?;
    }
    churn.current = None;
    let start = churn.settled()?;
    for _ in 0..n_batches {
        churn.batch()?;
    }
    let Some(current) = churn.current.take() else { return Err("no batch was run".into()) };
    let exits = current.series("exits_total", "reason=\"success\"");
    expect(&exits, exporter.scrape()?.get(&exits).copied(), Some(f64::from(n_batches)))?;
    drop(current);
    let end = churn.settled()?;

    let names = |scrape: &Scrape| scrape.keys().cloned().collect::<BTreeSet<_>>();
    let (before, after) = (names(&start), names(&end));
    let changed: Vec<&String> = before.symmetric_difference(&after).collect();
    expect("series that came or went", changed, vec![])?;
    for name in before.iter().filter(|name| STOCKS.contains(&family(name))) {
        expect(name, end.get(name), start.get(name))?;
    }
    let grown = |name: &str| Some(end.get(name)? - start.get(name)?);
    let n = f64::from(n_batches * BATCH);
    for name in ["podproof_cgroups_created_total", "podproof_cgroups_removed_total"] {
        expect(name, grown(name), Some(n))?;
    }
    let resident = grown("process_resident_memory_bytes").ok_or("no memory of the process")?;
    if resident > MARGIN {
        return Err(format!("{n} cgroups that are gone hold {resident} bytes").into());
    }
    Ok(())
}

type Scrape = BTreeMap<String, f64>;

/// Cgroups come and go, and scrapes look on.
struct Churn<'a> {
    exporter: &'a Exporter,
    last: Scrape,
    /// The last run of the one container that is started again and again.
    current: Option<Container>,
    /// Cgroups so far.
    n: u32,
}

impl Churn<'_> {
    /// Half of a batch is gone before anybody looks; the others are seen, and one of them goes on counting for its predecessor.
    fn batch(&mut self) -> Res<()> {
        for _ in 0..BATCH / 2 {
            self.container()?.remove()?;
        }
        let mut seen = Vec::new();
        for _ in 1..BATCH / 2 {
            seen.push(self.container()?);
        }
        self.n += 1;
        let next = Container::new(format!("{}{:052x}", "e".repeat(12), self.n))?;
        next.run(0)?;
        self.look()?;
        // The predecessor goes when its successor is known.
        self.current = Some(next);
        drop(seen);
        self.look()
    }

    /// One of its own name, in which a process has ended.
    fn container(&mut self) -> Res<Container> {
        self.n += 1;
        let container = Container::new(format!("{:012x}{}", self.n, "0".repeat(52)))?;
        container.run(0)?;
        Ok(container)
    }

    /// Scrapes, and compares the counters with those of the last time.
    fn look(&mut self) -> Res<()> {
        let scrape = self.exporter.scrape()?;
        for (name, value) in scrape.iter().filter(|(name, _)| is_counter(name)) {
            if let Some(before) = self.last.get(name).filter(|before| *before > value) {
                return Err(format!("{name} fell from {before} to {value}").into());
            }
        }
        self.last = scrape;
        Ok(())
    }

    /// The scrape in which nothing removed is kept any more.
    fn settled(&mut self) -> Res<Scrape> {
        until("the end of what is kept of the removed", || {
            self.look()?;
            Ok((self.last.get("podproof_tombstones") == Some(&0.0)).then(|| self.last.clone()))
        })
    }
}

/// What the exporter and its kernel maps hold.
const STOCKS: [&str; 3] = ["podproof_map_entries", "podproof_series", "podproof_tracked_containers"];

fn family(name: &str) -> &str {
    name.split('{').next().unwrap_or_default()
}

/// The parts of a histogram are counters too.
fn is_counter(name: &str) -> bool {
    ["_total", "_bucket", "_count", "_sum"].iter().any(|end| family(name).ends_with(end))
}
