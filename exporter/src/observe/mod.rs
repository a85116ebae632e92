//! Reads the kernel side and the file systems, and keeps the model up to date with them.

mod clock;
mod processes;
mod reconcile;
mod started;
mod uncounted;
mod view;
mod zombies;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use podproof_ebpf::counters::{Counter, CounterError};
use podproof_ebpf::{LoadError, ProbeStatus, TraceOptions, Tracer};
use thiserror::Error;

pub(crate) use clock::boot;
pub(crate) use view::{View, Zombies};

use reconcile::Differences;
use uncounted::Uncounted;

use crate::cgroups::{Cgroup, ROOT_ID, TreeError, read_counters, walk};
use crate::check::lacks;
use crate::metrics::MAX_PER_CONTAINER;
use crate::model::{FlagSets, Model, Outcome, Times};
use crate::resolve::Resolver;

/// The node could not be observed.
#[derive(Debug, Error)]
pub enum ObserveError {
    /// The probes did not start.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The cgroups could not be listed.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The counters could not be read.
    #[error(transparent)]
    Counter(#[from] CounterError),
}

/// How to observe.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the v2 hierarchy is mounted.
    pub mount_point: PathBuf,
    /// Below it: where paths of `/proc` begin ([`crate::cgroups::namespace_root`]).
    pub namespace_root: Option<PathBuf>,
    /// How long the series of what was removed stay.
    pub retention: Duration,
    /// How long a new container waits for its names before it is shown by its ids.
    pub metadata_wait: Duration,
    /// The kernel side.
    pub kernel: Kernel,
    /// Samples of containers and pods that there may be; who comes then is folded into one series.
    pub max_samples: usize,
}

/// How often everything is compared, whatever the counters say.
const RECONCILE: Duration = Duration::from_secs(60);

/// The node: its probes, and what is known of its containers.
#[derive(Debug)]
pub struct Observer {
    tracer: Tracer,
    options: Options,
    resolver: Resolver,
    started: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    model: Model,
    /// Cgroups made and removed at the last walk.
    seen: Option<(u64, u64)>,
    /// There is no room to count for another cgroup.
    is_full: bool,
    /// It was told that some are not counted.
    has_warned: bool,
    uncounted: Uncounted,
    /// A cgroup waits for its names.
    is_waiting: bool,
    /// Cgroups made since the last comparison, with their paths below the root of the hierarchy.
    born: BTreeMap<u64, PathBuf>,
    /// Cgroups of the last walk by path.
    ids: BTreeMap<PathBuf, u64>,
    old_zombies: Vec<zombies::Old>,
    /// Since boot: the next comparison of everything.
    due: Duration,
    /// Unix time of the last one.
    reconciled_at: Duration,
    differences: Differences,
    flag_sets: FlagSets,
}

/// The kernel side: how many it can know, and what is counted.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// Cgroups that can be counted at once.
    pub max_cgroups: u32,
    /// Zombies, and orphans, that can be known at once.
    pub max_processes: u32,
    /// Count how long run queues are throttled.
    pub throttling: bool,
}

impl Kernel {
    /// Counters, and no events.
    pub(crate) fn trace(self) -> TraceOptions {
        let Self { max_cgroups, max_processes, throttling } = self;
        let counters = TraceOptions {
            counters: true,
            throttling,
            max_cgroups,
            max_processes,
            ..TraceOptions::default()
        };
        TraceOptions { syscalls: false, events: false, ..counters }
    }
}

impl Observer {
    /// Loads the probes, and begins to count for all cgroups that there are.
    ///
    /// # Errors
    /// When a required probe cannot be attached, or the hierarchy cannot be read.
    pub fn start(options: Options, resolver: Resolver) -> Result<Self, ObserveError> {
        let tracer = Tracer::start(&options.kernel.trace())?;
        let state = State {
            model: Model::new(options.max_samples / MAX_PER_CONTAINER),
            seen: None,
            is_full: false,
            has_warned: false,
            uncounted: Uncounted::default(),
            is_waiting: false,
            born: BTreeMap::new(),
            ids: BTreeMap::new(),
            old_zombies: Vec::new(),
            due: boot() + RECONCILE,
            reconciled_at: clock::unix(),
            differences: Differences::default(),
            flag_sets: FlagSets::default(),
        };
        let observer = Self { tracer, options, resolver, started: clock::unix(), state: Mutex::new(state) };
        observer.refresh()?;
        // After the probes: who becomes a zombie meanwhile is known twice, not never.
        observer.lock().old_zombies = zombies::find();
        Ok(observer)
    }

    /// Takes over which cgroups there are, if any was made or removed since the last time; once a minute compares all that is known with
    /// what there is.
    ///
    /// # Errors
    /// When the hierarchy or the counters cannot be read.
    pub fn refresh(&self) -> Result<(), ObserveError> {
        self.update(&mut self.lock())
    }

    /// What the kernel refuses, with its reasons.
    pub(crate) fn lacks(&self) -> BTreeSet<String> {
        lacks(&self.tracer.probes(), &self.tracer.counter_sources())
    }

    /// What became of each probe.
    pub(crate) fn probes(&self) -> Vec<ProbeStatus> {
        self.tracer.probes()
    }

    /// Shows all that is known now.
    pub(crate) fn view<T>(&self, show: impl FnOnce(&View<'_>) -> T) -> Result<T, ObserveError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        self.update(state)?;
        let snapshot = self.tracer.counters()?;
        let at = |path: &Path| self.options.mount_point.join(path);
        state.model.read_files(|path| read_counters(&at(path)), |path| started::at(&at(path)));
        let mut all = self.tracer.zombies();
        let flag_sets = self.tracer.flag_sets()?;
        let fill = self.tracer.fill(&snapshot, &all, &flag_sets);
        let known: BTreeSet<u32> = all.iter().map(|zombie| zombie.tgid).collect();
        let root = self.options.namespace_root.as_deref();
        let old = zombies::still(&mut state.old_zombies, &state.ids, root);
        let n_known = all.len();
        all.extend(old.into_iter().filter(|zombie| !known.contains(&zombie.tgid)));
        let (zombies_of_map, zombies_of_proc) = all.split_at(n_known);
        Ok(show(&View {
            model: &state.model,
            snapshot: &snapshot,
            zombies: view::by_names(&state.model, &all),
            zombies_of_map,
            zombies_of_proc,
            probes: &self.tracer.probes(),
            mount_point: &self.options.mount_point,
            started: self.started,
            max_samples: self.options.max_samples,
            reconciled_at: state.reconciled_at,
            differences: state.differences,
            uncounted: &state.uncounted,
            flag_sets: &state.flag_sets.shown(flag_sets),
            refusals: &self.tracer.refusals()?,
            fill: &fill,
        }))
    }

    fn update(&self, state: &mut State) -> Result<(), ObserveError> {
        // Every second: of all counters only those are read that belong to no cgroup.
        let (rest, uncounted) = (self.tracer.rest_counters()?, self.tracer.uncounted()?);
        let churn = |counter| rest.get(counter).unwrap_or(0);
        let seen = Some((churn(Counter::CgroupsCreated), churn(Counter::CgroupsRemoved)));
        let now = boot();
        let (is_due, has_changed) = (now >= state.due, state.seen != seen);
        if is_due || has_changed || state.is_waiting {
            let n_changed = self.compare(state, now)?;
            if !has_changed {
                state.differences.cgroups += n_changed;
            }
            state.seen = seen;
        }
        state.uncounted.update(uncounted, state.is_full);
        if is_due {
            self.reconcile_zombies(state)?;
            (state.due, state.reconciled_at) = (now + RECONCILE, clock::unix());
        }
        let expired = state.model.expired(now, self.options.retention);
        if state.is_full && !expired.is_empty() {
            // There will be room for others, who are asked for by a comparison.
            state.seen = None;
        }
        for id in expired {
            let last = self.tracer.forget_cgroup(id)?;
            state.model.end(id, last.as_ref());
        }
        Ok(())
    }

    /// Takes over the cgroups of now; how many are new or gone.
    fn compare(&self, state: &mut State, now: Duration) -> Result<u64, ObserveError> {
        let names = self.resolver.read();
        for (source, fault) in names.faults() {
            tracing::debug!(%fault, "a name is not known");
            state.model.tally.names(source, Outcome::Error);
        }
        // Before the walk: who is counted and not found in it is gone. Each of those has left its path.
        let counted: BTreeSet<u64> = self.tracer.counted_cgroups()?.into_iter().collect();
        state.born.append(&mut self.tracer.take_cgroup_paths()?);
        let tree = walk(&self.options.mount_point)?;
        let mut born = std::mem::take(&mut state.born);
        if tree.first().is_none_or(|root| root.id != ROOT_ID) {
            // Where their paths are below this mount is not known.
            born.clear();
        }
        let times = Times { now, wait: self.options.metadata_wait };
        let changes = state.model.compare(&tree, born, &counted, times, |path| names.resolve(path));
        state.is_waiting = changes.is_waiting;
        let n_changed = changes.n_found + changes.n_removed;
        self.begin(state, counted.len(), &changes.begin)?;
        state.ids = tree.into_iter().map(|Cgroup { id, path }| (path, id)).collect();
        Ok(n_changed.try_into().unwrap_or(u64::MAX))
    }

    /// Counts for these cgroups, beside those that are counted, as far as there is room.
    fn begin(&self, state: &mut State, n_counted: usize, cgroups: &[u64]) -> Result<(), ObserveError> {
        let mut n_refused = 0;
        for id in cgroups {
            n_refused += usize::from(!self.tracer.count_cgroup(*id)?);
        }
        let max = self.options.kernel.max_cgroups;
        if n_refused > 0 && !state.has_warned {
            tracing::warn!(
                "not all is counted: {n_refused} cgroups are more than --map.max-containers={max} has room for"
            );
            state.has_warned = true;
        }
        let n_counted = n_counted + cgroups.len() - n_refused;
        state.is_full = u32::try_from(n_counted).is_ok_and(|n| n >= max) || n_refused > 0;
        Ok(())
    }

    /// Takes zombies out that are none, and in that were missed. Without the hook of releases none is known but those of /proc.
    fn reconcile_zombies(&self, state: &mut State) -> Result<(), ObserveError> {
        let before = self.tracer.zombies();
        let found = zombies::find();
        let mut corrections = reconcile::compare(&before, found, &self.tracer.zombies());
        for zombie in &corrections.gone {
            self.tracer.forget_zombie(zombie)?;
        }
        let old: BTreeSet<u32> = state.old_zombies.iter().map(zombies::Old::tgid).collect();
        corrections.unknown.retain(|zombie| !old.contains(&zombie.tgid()));
        let n = corrections.gone.len() + corrections.unknown.len();
        state.differences.zombies += u64::try_from(n).unwrap_or(u64::MAX);
        state.old_zombies.append(&mut corrections.unknown);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
