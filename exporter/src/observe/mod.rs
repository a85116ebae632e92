//! Reads the kernel side and the file systems, and keeps the model up to date with them.

mod clock;
mod first;
mod parts;
mod pause;
mod proc;
mod processes;
mod reconcile;
mod uncounted;
mod view;
mod zombies;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use podproof_ebpf::counters::{Counter, CounterError, Counts, ZombieView};
use podproof_ebpf::{LoadError, ProbeStatus, TraceOptions, Tracer};
use procfs::ProcError;
use thiserror::Error;

pub(crate) use clock::boot;
pub(crate) use parts::Parts;
pub use proc::{Procfs, ProcfsError};
pub(crate) use view::{View, Zombies};

use parts::{Part, for_each};
use reconcile::Differences;
use uncounted::Uncounted;

use crate::cgroups::{Cgroup, ROOT_ID, Tree, TreeError, read_files, walk};
use crate::check::lacks;
use crate::model::{Dropped, FlagSets, Model, Outcome, Times};
use crate::resolve::Resolver;
use crate::sandbox::Cgroups;

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
    /// The processes could not be looked at.
    #[error("cannot look for zombies in /proc")]
    Processes(#[from] ProcError),
    /// A file of a cgroup could not be read, and not because it is not there.
    #[error("cannot read the files of the cgroup {}", path.display())]
    Files {
        /// The cgroup.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// How to observe.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's processes.
    pub procfs: Procfs,
    /// Type information of the running kernel (BTF).
    pub btf: PathBuf,
    /// Where the v2 hierarchy is mounted.
    pub mount_point: PathBuf,
    /// Below it: where paths of `/proc` begin ([`crate::cgroups::namespace_root`]).
    pub namespace_root: Option<PathBuf>,
    /// How long the series of what was removed stay.
    pub retention: Duration,
    /// How long a new container waits for its names before it is shown by its ids.
    pub metadata_wait: Duration,
    /// How often everything is compared, whatever the counters say.
    pub reconcile: Duration,
    /// The kernel side.
    pub kernel: Kernel,
    /// Samples of containers and pods that there may be.
    pub max_samples: usize,
    /// Series of containers and pods that have room with these samples; who comes then is folded into one series.
    pub max_series: usize,
    /// A label that is left empty.
    pub dropped: Option<Dropped>,
}

/// Zombies of the whole node.
struct AllZombies {
    /// The probes know them.
    of_map: Vec<ZombieView>,
    /// Only /proc has them.
    of_proc: Vec<ZombieView>,
}

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
    /// No cgroup was looked for yet.
    is_new: bool,
    /// Cgroups made and removed at the last walk.
    seen: Option<(u64, u64)>,
    /// There is no room to count for another cgroup.
    is_full: bool,
    /// It was told that some are not counted.
    has_warned: bool,
    /// It was told that what is below some cgroup is not seen.
    has_warned_of_hidden: bool,
    uncounted: Uncounted,
    /// A cgroup waits for its names.
    is_waiting: bool,
    /// Cgroups made since the last comparison, with their paths below the root of the hierarchy.
    born: BTreeMap<u64, PathBuf>,
    /// Cgroups that are there, and that the kernel does not count for yet.
    to_count: BTreeSet<u64>,
    /// How many it counts for.
    n_counted: usize,
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
        let tracer = Tracer::start_with_btf(&options.kernel.trace(), &options.btf)?;
        let state = State {
            model: Model::new(options.max_series, options.dropped),
            is_new: true,
            seen: None,
            is_full: false,
            has_warned: false,
            has_warned_of_hidden: false,
            uncounted: Uncounted::default(),
            is_waiting: false,
            born: BTreeMap::new(),
            to_count: BTreeSet::new(),
            n_counted: 0,
            ids: BTreeMap::new(),
            old_zombies: Vec::new(),
            due: boot() + options.reconcile,
            reconciled_at: clock::unix(),
            differences: Differences::default(),
            flag_sets: FlagSets::default(),
        };
        let observer = Self { tracer, options, resolver, started: clock::unix(), state: Mutex::new(state) };
        observer.refresh()?;
        // After the probes: who becomes a zombie meanwhile is known twice, not never.
        let old = zombies::find(&observer.options.procfs)?;
        let mut state = observer.lock();
        state.old_zombies = old;
        observer.place_old_zombies(&mut state);
        drop(state);
        Ok(observer)
    }

    /// Takes over which cgroups there are, if any was made or removed since the last time; now and then ([`Options::reconcile`]) compares
    /// all that is known with what there is.
    ///
    /// # Errors
    /// When the hierarchy or the counters cannot be read.
    pub fn refresh(&self) -> Result<(), ObserveError> {
        let mut parts = Parts::default();
        self.update(&mut self.lock(), &mut parts);
        parts.all()
    }

    /// What the kernel refuses, with its reasons.
    pub(crate) fn lacks(&self) -> BTreeSet<String> {
        lacks(&self.tracer.probes(), &self.tracer.counter_sources())
    }

    /// What became of each probe.
    pub(crate) fn probes(&self) -> Vec<ProbeStatus> {
        self.tracer.probes()
    }

    /// Shows all that is known now, and tells what became of its parts. What could not be read is not there.
    pub(crate) fn view<T>(&self, show: impl FnOnce(&View<'_>) -> T) -> (T, Parts) {
        let mut parts = Parts::default();
        let mut guard = self.lock();
        let state = &mut *guard;
        self.update(state, &mut parts);
        let snapshot = parts.take(Part::Counters, || Ok(self.tracer.counters()?));
        if let Some(snapshot) = &snapshot {
            state.model.settle(snapshot);
        }
        parts.take(Part::Files, || self.read_files(&mut state.model));
        let all = parts.take(Part::Zombies, || self.zombies(state));
        let flag_sets = parts.take(Part::FlagSets, || Ok(self.tracer.flag_sets()?));
        let refusals = parts.take(Part::Refusals, || Ok(self.tracer.refusals()?));
        let fill = snapshot
            .as_ref()
            .zip(all.as_ref())
            .zip(flag_sets.as_ref())
            .map(|((snapshot, all), sets)| self.tracer.fill(snapshot, &all.of_map, sets));
        let flag_sets = flag_sets.map(|sets| state.flag_sets.shown(sets));
        let shown = show(&View {
            model: &state.model,
            snapshot: snapshot.as_ref(),
            zombies: all
                .as_ref()
                .map(|all| view::by_names(&state.model, all.of_map.iter().chain(&all.of_proc))),
            zombies_of_map: all.as_ref().map_or(&[], |all| &all.of_map),
            zombies_of_proc: all.as_ref().map_or(&[], |all| &all.of_proc),
            is_current: parts.has(Part::Cgroups),
            probes: &self.tracer.probes(),
            mount_point: &self.options.mount_point,
            procfs: &self.options.procfs,
            started: self.started,
            max_samples: self.options.max_samples,
            reconciled_at: state.reconciled_at,
            differences: state.differences,
            uncounted: &state.uncounted,
            flag_sets: flag_sets.as_deref().unwrap_or_default(),
            refusals: refusals.as_deref().unwrap_or_default(),
            fill: fill.as_ref().map_or(&[], |fill| fill),
        });
        (shown, parts)
    }

    fn update(&self, state: &mut State, parts: &mut Parts) {
        let now = boot();
        let is_due = now >= state.due;
        let compared = parts.take(Part::Cgroups, || self.follow(state, now, is_due));
        parts.take(Part::Counting, || self.begin(state));
        let checked =
            parts.take(Part::Reconcile, || if is_due { self.reconcile_zombies(state) } else { Ok(()) });
        if is_due && compared.and(checked).is_some() {
            (state.due, state.reconciled_at) = (now + self.options.reconcile, clock::unix());
        }
        parts.take(Part::Retention, || {
            let expired = self.dispensable(state, now)?;
            if state.is_full && !expired.is_empty() {
                // There will be room for others, who are asked for by a comparison.
                state.seen = None;
            }
            for_each(expired, |id| {
                let last = self.tracer.forget_cgroup(id)?;
                state.n_counted = state.n_counted.saturating_sub(last.is_some().into());
                state.model.end(id, last.as_ref());
                Ok(())
            })
        });
    }

    /// Removed cgroups that need not be known any longer: their retention is over, or those that come will need their room.
    fn dispensable(&self, state: &State, now: Duration) -> Result<BTreeSet<u64>, ObserveError> {
        /// So long scrapes can see what a container had counted in the end: four of the usual interval.
        const SHORTEST: Duration = Duration::from_secs(60);
        let mut ids = BTreeSet::from_iter(state.model.expired(now, self.options.retention));
        let max = self.options.kernel.max_cgroups as usize;
        // From half on, those of no container; from three quarters on, their own as well.
        let n_over = state.n_counted.saturating_sub(max / 2);
        if n_over > 0 {
            let if_need_be = (state.n_counted > max / 4 * 3).then_some(SHORTEST);
            ids.extend(state.model.spare(now, if_need_be).into_iter().take(n_over));
        }
        if !ids.is_empty() {
            // Whoever waits to be reaped is of its series as long as that lasts.
            let of_map = self.tracer.zombies()?.into_iter().map(|zombie| zombie.cgroup_id);
            let of_proc = state.old_zombies.iter().filter_map(zombies::Old::cgroup_id);
            for id in of_map.chain(of_proc).filter(|id| state.model.has_others(*id)) {
                ids.remove(&id);
            }
        }
        Ok(ids)
    }

    /// Takes over the cgroups of now if any was made or removed, if one waits for its names, or if it is due.
    fn follow(&self, state: &mut State, now: Duration, is_due: bool) -> Result<(), ObserveError> {
        // Every second: of all counters only these two are read, which belong to no cgroup.
        let seen = self.tracer.rest_counters().map(|rest| churn(&rest));
        let n_seen = seen.as_ref().ok().copied().flatten();
        // Who cannot be told has to look.
        let has_changed = n_seen.is_none() || n_seen != state.seen;
        if is_due || has_changed || state.is_waiting {
            let n_changed = self.compare(state, now)?;
            if !has_changed {
                state.differences.cgroups += n_changed;
            }
            state.seen = n_seen;
        }
        seen?;
        Ok(())
    }

    /// Reads the files of all cgroups; one that cannot be read keeps what it had.
    fn read_files(&self, model: &mut Model) -> Result<(), ObserveError> {
        let at = |path: &Path| self.options.mount_point.join(path);
        let mut fault = None;
        let read = |path: &Path| {
            let path = at(path);
            read_files(&path).unwrap_or_else(|source| {
                fault.get_or_insert(ObserveError::Files { path, source });
                None
            })
        };
        model.read_files(read, |path| first::find(&self.options.procfs, &at(path)));
        fault.map_or(Ok(()), Err)
    }

    /// Who waits to be reaped.
    fn zombies(&self, state: &mut State) -> Result<AllZombies, ObserveError> {
        let of_map = self.tracer.zombies()?;
        let known: BTreeSet<u32> = of_map.iter().map(|zombie| zombie.tgid).collect();
        self.place_old_zombies(state);
        let mut of_proc = zombies::still(&self.options.procfs, &mut state.old_zombies)?;
        of_proc.retain(|zombie| !known.contains(&zombie.tgid));
        Ok(AllZombies { of_map, of_proc })
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
        let Tree { cgroups: tree, hidden } = walk(&self.options.mount_point)?;
        if let Some(path) = hidden.filter(|_| !state.has_warned_of_hidden) {
            tracing::warn!("not all is seen: what is below the cgroup /{} cannot be listed", path.display());
            state.has_warned_of_hidden = true;
        }
        let mut born = std::mem::take(&mut state.born);
        if tree.first().is_none_or(|root| root.id != ROOT_ID) {
            // Where their paths are below this mount is not known.
            born.clear();
        }
        // Whose names are in files has them there by now, if it is older than the exporter.
        let is_first = std::mem::replace(&mut state.is_new, false) && !names.is_asked();
        let wait = if is_first { Duration::ZERO } else { self.options.metadata_wait };
        let times = Times { now, wait };
        let ids = tree.iter().map(|Cgroup { id, path }| (path.clone(), *id)).collect();
        let is_pause = |path: &Path| {
            let cgroup = self.options.mount_point.join(path);
            pause::is_alone_in(&self.options.procfs, &cgroup)
        };
        let there = Cgroups { ids: &ids, is_pause: &is_pause };
        let owner_of = |path: &Path, has_waited: bool| names.resolve(path, has_waited.then_some(&there));
        let changes = state.model.compare(&tree, born, &counted, times, owner_of);
        state.is_waiting = changes.is_waiting;
        let n_changed = changes.n_found + changes.n_removed;
        state.to_count = changes.begin.into_iter().collect();
        (state.n_counted, state.is_full) = (counted.len(), false);
        state.ids = ids;
        Ok(n_changed.try_into().unwrap_or(u64::MAX))
    }

    /// Counts for cgroups that are new, as far as there is room; where it fails it is tried again the next time.
    fn begin(&self, state: &mut State) -> Result<(), ObserveError> {
        let (mut n_begun, mut n_refused) = (0, 0);
        let begun = for_each(std::mem::take(&mut state.to_count), |id| {
            let has_room = self.tracer.count_cgroup(id).inspect_err(|_| _ = state.to_count.insert(id))?;
            *(if has_room { &mut n_begun } else { &mut n_refused }) += 1;
            Ok(())
        });
        let max = self.options.kernel.max_cgroups;
        if n_refused > 0 && !state.has_warned {
            tracing::warn!(
                "not all is counted: {n_refused} cgroups are more than --map.max-containers={max} has room for"
            );
            state.has_warned = true;
        }
        state.n_counted += n_begun;
        state.is_full |= n_refused > 0 || u32::try_from(state.n_counted).is_ok_and(|n| n >= max);
        state.uncounted.update(self.tracer.uncounted()?, state.is_full);
        begun
    }

    /// Takes zombies out that are none, and in that were missed. Without the hook of releases none is known but those of /proc.
    fn reconcile_zombies(&self, state: &mut State) -> Result<(), ObserveError> {
        let before = self.tracer.zombies()?;
        let found = zombies::find(&self.options.procfs)?;
        let is_hidden = |tgid: u32| self.options.procfs.is_hidden(tgid.cast_signed());
        let mut corrections = reconcile::compare(&before, found, &self.tracer.zombies()?, is_hidden);
        for_each(&corrections.gone, |zombie| self.tracer.forget_zombie(zombie))?;
        let old: BTreeSet<u32> = state.old_zombies.iter().map(zombies::Old::tgid).collect();
        corrections.unknown.retain(|zombie| !old.contains(&zombie.tgid()));
        let n = corrections.gone.len() + corrections.unknown.len();
        state.differences.zombies += u64::try_from(n).unwrap_or(u64::MAX);
        state.old_zombies.append(&mut corrections.unknown);
        self.place_old_zombies(state);
        Ok(())
    }

    /// Finds the cgroups of those that are not known from the kernel side, as long as their paths are there.
    fn place_old_zombies(&self, state: &mut State) {
        if let Some(root) = self.options.namespace_root.as_deref() {
            zombies::place(&mut state.old_zombies, &state.ids, root);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cgroups made and removed; `None` where the kernel does not tell of both.
fn churn(rest: &Counts) -> Option<(u64, u64)> {
    rest.get(Counter::CgroupsCreated).zip(rest.get(Counter::CgroupsRemoved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_does_not_tell_of_every_cgroup_is_not_relied_on() {
        let of = |counters: &[(Counter, u64)]| churn(&counters.iter().copied().collect());
        assert_eq!(of(&[(Counter::CgroupsCreated, 3), (Counter::CgroupsRemoved, 0)]), Some((3, 0)));
        assert_eq!(of(&[(Counter::CgroupsRemoved, 1)]), None);
        assert_eq!(of(&[(Counter::CgroupsCreated, 1)]), None);
        assert_eq!(of(&[]), None);
    }
}
