//! The node at one moment, as scrapes and pages show it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use podproof_ebpf::ProbeStatus;
use podproof_ebpf::counters::{FlagSet, MapFill, Refusals, Snapshot, ZombieParent, ZombieView};

use super::clock::boot_ns;
use super::first;
use super::proc::Procfs;
use super::processes::without_kernel_threads;
use super::reconcile::Differences;
use super::uncounted::Uncounted;
use crate::cgroups::processes;
use crate::model::{Lost, Model, Names, Place, Series, Sums};

/// What is known now. What could not be read is absent, or empty.
pub(crate) struct View<'a> {
    pub(crate) model: &'a Model,
    pub(crate) snapshot: Option<&'a Snapshot>,
    pub(super) zombies: Option<BTreeMap<Names, Zombies>>,
    /// The cgroups are those of now, so that what is in them can be told.
    pub(crate) is_current: bool,
    pub(crate) probes: &'a [ProbeStatus],
    pub(crate) mount_point: &'a Path,
    pub(super) procfs: &'a Procfs,
    /// Unix time at which counting began.
    pub(crate) started: Duration,
    /// Zombies of the whole node that the probes know.
    pub(crate) zombies_of_map: &'a [ZombieView],
    /// The others, which only /proc has.
    pub(crate) zombies_of_proc: &'a [ZombieView],
    /// Samples of containers that there may be.
    pub(crate) max_samples: usize,
    /// Unix time of the last complete comparison.
    pub(crate) reconciled_at: Duration,
    /// What comparisons have corrected.
    pub(crate) differences: Differences,
    pub(super) uncounted: &'a Uncounted,
    pub(crate) flag_sets: &'a [FlagSet],
    pub(crate) refusals: &'a [Refusals],
    pub(crate) fill: &'a [MapFill],
}

/// Processes of one series that wait to be reaped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Zombies {
    /// By PID 1 of their pid namespace.
    pub(crate) of_init: u64,
    /// By that of the pod, the sandbox's first process.
    pub(crate) of_pause: u64,
    /// By another parent.
    pub(crate) of_others: u64,
    /// How long the oldest has waited.
    pub(crate) oldest: Duration,
}

impl Zombies {
    pub(crate) fn count(&self) -> u64 {
        self.of_init + self.of_pause + self.of_others
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.of_init += other.of_init;
        self.of_pause += other.of_pause;
        self.of_others += other.of_others;
        self.oldest = self.oldest.max(other.oldest);
    }
}

impl View<'_> {
    pub(crate) fn zombies(&self, names: &Names) -> Option<Zombies> {
        Some(self.zombies.as_ref()?.get(names).copied().unwrap_or_default())
    }

    /// Events that belong to no series, by why.
    pub(crate) fn unattributed(&self, snapshot: &Snapshot) -> Vec<(&'static str, Sums)> {
        let lost = |reason: Lost| {
            let mut sums = self.model.nobody(reason, snapshot);
            if let Some(others) = self.uncounted.others().filter(|_| reason == Lost::NoCgroup) {
                sums.merge(others);
            }
            (reason.label(), sums)
        };
        let overflow = self.uncounted.overflow().cloned();
        let overflow = overflow.unwrap_or_else(|| Sums::zero(&snapshot.rest));
        Lost::ALL.into_iter().map(lost).chain([("overflow", overflow)]).collect()
    }

    /// Processes alive in the cgroups of a container or a pod.
    pub(crate) fn n_processes(&self, series: &Series) -> usize {
        self.model
            .live(series)
            .filter_map(|(path, _)| processes(&self.mount_point.join(path)))
            .map(|all| all.len())
            .sum()
    }

    /// Whether the first process of a sandbox is alive; `None` where that is not known.
    pub(crate) fn is_first_alive(&self, series: &Series) -> Option<bool> {
        self.model.first(series).map(|first| first::is_alive(self.procfs, &first))
    }

    /// Processes alive in the cgroups of the host; `None` when /proc hides some.
    pub(crate) fn n_host_processes(&self, series: &Series) -> Option<usize> {
        let cgroups = self.model.live(series);
        cgroups.map(|(path, _)| without_kernel_threads(self.procfs, &self.mount_point.join(path))).sum()
    }
}

/// Zombies by the series of the cgroup that they died in.
pub(super) fn by_names<'a>(
    model: &Model,
    zombies: impl IntoIterator<Item = &'a ZombieView>,
) -> BTreeMap<Names, Zombies> {
    let now_ns = boot_ns();
    let mut all = BTreeMap::<Names, Zombies>::new();
    for zombie in zombies {
        let Some((names, place)) = model.names_of(zombie.cgroup_id) else { continue };
        let counts = all.entry(names.clone()).or_default();
        let count = match (zombie.parent, place) {
            (ZombieParent::Other, _) => &mut counts.of_others,
            (ZombieParent::OtherInit, Place::Container | Place::Sandbox)
            | (ZombieParent::Init, Place::Sandbox) => &mut counts.of_pause,
            (ZombieParent::Init | ZombieParent::OtherInit, _) => &mut counts.of_init,
        };
        *count += 1;
        counts.oldest = counts.oldest.max(Duration::from_nanos(now_ns.saturating_sub(zombie.since_ns)));
    }
    all
}
