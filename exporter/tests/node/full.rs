//! More cgroups than the kernel side has room for.

use crate::container::Container;
use crate::exporter::{Exporter, until};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] =
    &[("full::what_there_is_no_room_for_is_told_and_the_rest_goes_on", what_there_is_no_room_for_is_told)];

/// The least that there may be.
const ROOM: &str = "16";
const CONTAINERS: u32 = 20;
const PROGRAMS: u32 = 5;

fn what_there_is_no_room_for_is_told() -> Res<()> {
    let mut made = Vec::new();
    for n in 0..CONTAINERS {
        made.push(Container::new(format!("{n:012x}{}", "7".repeat(52)))?);
    }
    let exporter = Exporter::start(&["--map.max-containers", ROOM, "--retention.deleted", "1s"])?;
    let lost = "podproof_events_lost_total{event=\"counters\",reason=\"map_full\"}";
    let overflow = "podproof_unattributed_events_total{event=\"exec\",reason=\"overflow\"}";
    let before = exporter.scrape()?;
    expect("some are not counted", before.get(lost).copied() >= Some(4.0), true)?;
    for container in &made {
        container.run(PROGRAMS)?;
    }
    let scrape = exporter.scrape()?;
    let execs = |container: &Container| scrape.get(&container.series("execs_total", "")).copied();
    let n = f64::from(PROGRAMS);
    let is_counted: Vec<bool> = made.iter().map(|container| execs(container) == Some(n)).collect();
    let n_counted = is_counted.iter().filter(|is| **is).count();
    // The older come first.
    expect("which are counted", is_counted.iter().skip(n_counted).any(|is| *is), false)?;
    expect("some are counted", n_counted > 0 && n_counted < made.len(), true)?;
    let n_others = u32::try_from(made.len() - n_counted)?;
    let grown = scrape.get(overflow).zip(before.get(overflow)).map(|(after, before)| after - before);
    expect(overflow, grown, Some(f64::from(n_others) * n))?;

    // Where others have ended there is room.
    let last = made.pop().ok_or("no container")?;
    drop(made);
    let series = last.series("execs_total", "");
    until("the last one to be counted", || {
        last.run(PROGRAMS)?;
        Ok(exporter.scrape()?.get(&series).filter(|count| **count > 0.0).map(|_| ()))
    })
}
