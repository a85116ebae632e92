//! What is known against what there is, again and again.

use std::collections::BTreeMap;
use std::process::Child;

use crate::container::{Container, shell};
use crate::exporter::{Exporter, until};
use crate::process::until_zombie;
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[("reconcile::what_the_kernel_side_misses_is_made_good", what_is_missed)];

/// Zombies that the kernel side has room for, the least that there may be.
const ROOM: &str = "16";
/// Zombies that there are, and how many of them it has no room for at least.
const ZOMBIES: u8 = 20;
const MISSED: f64 = 4.0;

const LAST: &str = "podproof_reconcile_last_success_timestamp_seconds";

/// Corrections of zombies and of cgroups.
pub(crate) fn differences(scrape: &BTreeMap<String, f64>) -> [Option<f64>; 2] {
    let of = |what: &str| format!("podproof_reconcile_differences_total{{what=\"{what}\"}}");
    ["zombies", "cgroups"].map(|what| scrape.get(&of(what)).copied())
}

/// A scrape after everything was compared once more than in this one.
pub(crate) fn compared_after(
    exporter: &Exporter,
    before: &BTreeMap<String, f64>,
) -> Res<BTreeMap<String, f64>> {
    let last = before.get(LAST).copied().ok_or("nothing was ever compared")?;
    until("a comparison", || Ok(Some(exporter.scrape()?).filter(|scrape| scrape.get(LAST) > Some(&last))))
}

/// Killed and reaped with the test.
struct Zombies(Vec<Child>);

impl Zombies {
    /// Children of this process that have ended in a cgroup.
    fn new(container: &Container) -> Res<Self> {
        let mut zombies = Self(Vec::new());
        for _ in 0..ZOMBIES {
            zombies.0.push(shell(&container.path, "exit 0").spawn()?);
        }
        zombies.0.iter().try_for_each(until_zombie)?;
        Ok(zombies)
    }
}

impl Drop for Zombies {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It has ended.
            _ = child.wait();
        }
    }
}

fn what_is_missed() -> Res<()> {
    let container = Container::new("8".repeat(64))?;
    let exporter = Exporter::start(&["--map.max-processes", ROOM, "--reconcile.interval", "500ms"])?;
    let shown = container.series("zombie_processes", "parent=\"other\"");
    let first = until("the container", || {
        Ok(Some(exporter.scrape()?).filter(|scrape| scrape.get(&shown) == Some(&0.0)))
    })?;
    let quiet = compared_after(&exporter, &first)?;
    expect("differences while nothing is missed", differences(&quiet), [Some(0.0); 2])?;

    let zombies = Zombies::new(&container)?;
    let all = f64::from(ZOMBIES);
    let mended = until("all zombies", || {
        Ok(Some(exporter.scrape()?).filter(|scrape| scrape.get(&shown) == Some(&all)))
    })?;
    let refused = mended.get("podproof_events_lost_total{event=\"zombies\",reason=\"map_full\"}").copied();
    let [missed, cgroups] = differences(&mended);
    let is_told = missed >= Some(MISSED) && missed <= refused;
    expect(&format!("of {refused:?} refused zombies {missed:?} are found"), is_told, true)?;
    expect("cgroups that it has missed", cgroups, Some(0.0))?;
    // Once is enough.
    let again = compared_after(&exporter, &mended)?;
    expect("zombies after another comparison", again.get(&shown).copied(), Some(all))?;
    expect("differences after it", differences(&again), [missed, cgroups])?;

    drop(zombies);
    let reaped = exporter.scrape()?;
    expect("zombies when all are reaped", reaped.get(&shown).copied(), Some(0.0))?;
    let after = compared_after(&exporter, &reaped)?;
    expect("differences in the end", differences(&after), [missed, cgroups])
}
