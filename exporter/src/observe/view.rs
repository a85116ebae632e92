//! The node at one moment, as scrapes and pages show it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use podproof_ebpf::ProbeStatus;
use podproof_ebpf::counters::{Snapshot, ZombieView};

use super::clock::boot_ns;
use crate::cgroups::{FileGauges, n_processes, read_gauges};
use crate::model::{Model, Names, Series};

/// What is known now.
pub(crate) struct View<'a> {
    pub(crate) model: &'a Model,
    pub(crate) snapshot: &'a Snapshot,
    pub(super) zombies: BTreeMap<Names, Zombies>,
    pub(crate) probes: &'a [ProbeStatus],
    pub(crate) mount_point: &'a Path,
    /// Unix time at which counting began.
    pub(crate) started: Duration,
    /// Unix time of the last complete walk.
    pub(crate) compared_at: Duration,
}

/// Processes of one series that wait to be reaped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Zombies {
    /// By PID 1 of their pid namespace.
    pub(crate) of_init: u64,
    /// By another parent.
    pub(crate) of_others: u64,
    /// How long the oldest has waited.
    pub(crate) oldest: Duration,
}

impl View<'_> {
    pub(crate) fn zombies(&self, names: &Names) -> Zombies {
        self.zombies.get(names).copied().unwrap_or_default()
    }

    /// Processes alive in the cgroups of a series.
    pub(crate) fn n_processes(&self, series: &Series) -> u64 {
        self.model.live(series).filter_map(|(path, _)| n_processes(&self.mount_point.join(path))).sum()
    }

    /// What the files of the container's own cgroup say.
    pub(crate) fn gauges(&self, series: &Series) -> FileGauges {
        let top = self.model.live(series).filter(|(_, is_top)| *is_top).last();
        top.map_or_else(FileGauges::default, |(path, _)| read_gauges(&self.mount_point.join(path)))
    }
}

/// Zombies by the series of the cgroup that they died in.
pub(super) fn by_names(model: &Model, zombies: &[ZombieView]) -> BTreeMap<Names, Zombies> {
    let now_ns = boot_ns();
    let mut all = BTreeMap::<Names, Zombies>::new();
    for zombie in zombies {
        let Some(names) = model.names_of(zombie.cgroup_id) else { continue };
        let counts = all.entry(names.clone()).or_default();
        let count = if zombie.parent_is_init { &mut counts.of_init } else { &mut counts.of_others };
        *count += 1;
        counts.oldest = counts.oldest.max(Duration::from_nanos(now_ns.saturating_sub(zombie.since_ns)));
    }
    all
}
