//! The series, and the cgroups behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use podproof_ebpf::counters::{Counts, Snapshot};

use super::member::Member;
use super::{Names, Outcome, Owner, Place, Role, Source, Sums, Tally};
use crate::cgroups::{Cgroup, FileCounters};
use crate::resolve::Found;

/// What has to be done after a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Cgroups to count for from here on.
    pub(crate) begin: Vec<u64>,
    /// How many were found to be removed.
    pub(crate) n_removed: usize,
    /// Some wait for their names: the comparison is due again.
    pub(crate) is_waiting: bool,
}

/// Since boot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) now: Duration,
    /// So long a cgroup waits for its names.
    pub(crate) wait: Duration,
}

/// All that is exported under the same names.
#[derive(Debug)]
pub(crate) struct Series {
    /// The newest container of these names.
    pub(crate) owner: Owner,
    /// How many containers had these names, one after the other.
    pub(crate) n_runs: u64,
    /// Of cgroups that are no members any more.
    base: Option<Sums>,
    base_files: FileCounters,
    /// Cgroups that count for it.
    members: BTreeSet<u64>,
}

impl Series {
    fn new(owner: Owner) -> Self {
        Self { owner, n_runs: 0, base: None, base_files: FileCounters::default(), members: BTreeSet::new() }
    }

    pub(crate) fn cgroup_ids(&self) -> impl Iterator<Item = u64> {
        self.members.iter().copied()
    }
}

/// All series.
#[derive(Debug)]
pub(crate) struct Model {
    members: BTreeMap<u64, Member>,
    series: BTreeMap<Names, Series>,
    /// Series of containers and pods that there may be, beside the host's and the overflow.
    max_series: usize,
    /// Of cgroups that were nobody's, and are no members any more.
    nobody: Option<Sums>,
    pub(crate) tally: Tally,
}

impl Model {
    pub(crate) fn new(max_series: usize) -> Self {
        Self {
            members: BTreeMap::new(),
            series: BTreeMap::new(),
            max_series,
            nobody: None,
            tally: Tally::default(),
        }
    }

    /// Takes over which cgroups there are now. `counted` are those that the kernel counts for.
    pub(crate) fn compare(
        &mut self,
        tree: &[Cgroup],
        counted: impl IntoIterator<Item = u64>,
        times: Times,
        owner_of: impl Fn(&Path) -> Found,
    ) -> Changes {
        let now = times.now;
        let mut changes = Changes::default();
        let there: BTreeSet<u64> = tree.iter().map(|cgroup| cgroup.id).collect();
        for cgroup in tree {
            let member = self.members.entry(cgroup.id).or_insert_with(|| {
                changes.begin.push(cgroup.id);
                Member::new(now)
            });
            if member.path.is_none() {
                member.path = Some(cgroup.path.clone());
                self.tally.path(Outcome::Ok);
            }
            if member.names.is_some() && !member.is_provisional {
                continue;
            }
            let found = owner_of(&cgroup.path);
            if found.is_provisional {
                if member.names.is_some() {
                    continue;
                }
                if now.saturating_sub(member.seen_at) < times.wait {
                    changes.is_waiting = true;
                    continue;
                }
            }
            self.join(cgroup.id, found);
        }
        // Born and gone between two looks: still counted, by nobody's name.
        for id in counted {
            self.members.entry(id).or_insert_with(|| {
                self.tally.path(Outcome::Gone);
                Member::new(now)
            });
        }
        for (id, member) in &mut self.members {
            if member.removed_at.is_none() && !there.contains(id) {
                member.removed_at = Some(now);
                changes.n_removed += 1;
            }
        }
        changes
    }

    /// Makes a cgroup count for its owner's series.
    fn join(&mut self, id: u64, found: Found) {
        let Found { mut owner, is_top, is_provisional, source } = found;
        if let Some(source) = source.filter(|_| is_top) {
            if is_provisional {
                self.tally.names(Source::LogDir, Outcome::Miss);
            }
            self.tally.names(source, Outcome::Ok);
        }
        // The one switch from ids to names: what was counted goes along.
        let before = self.leave(id);
        if self.is_over(&owner, is_top) {
            self.tally.n_limited += u64::from(is_top);
            owner = Owner::overflow();
        }
        let Some(member) = self.members.get_mut(&id) else { return };
        member.names = Some(owner.names.clone());
        member.is_provisional = is_provisional;
        member.is_top = is_top;
        member.place = match owner.role {
            Role::App | Role::Init if is_top => Place::Container,
            Role::Sandbox => Place::Sandbox,
            _ => Place::Below,
        };
        let series = self.series.entry(owner.names.clone()).or_insert_with(|| Series::new(owner.clone()));
        // Another pod of the same name is a new one, and its counters begin again.
        if series.owner.pod_uid != owner.pod_uid {
            for id in std::mem::take(&mut series.members) {
                if let Some(member) = self.members.get_mut(&id) {
                    (member.path, member.names) = (None, None);
                }
            }
            *series = Series::new(owner.clone());
        }
        if is_top {
            series.n_runs += 1;
            series.owner = owner;
        }
        if let Some(before) = before {
            if let Some(sums) = before.base {
                series.base.get_or_insert_with(|| sums.zeroed()).merge(&sums);
            }
            series.base_files.add(&before.base_files);
        }
        series.members.insert(id);
    }

    /// Takes a cgroup out of its series; the series itself if that was its last one.
    fn leave(&mut self, id: u64) -> Option<Series> {
        let names = self.members.get_mut(&id)?.names.take()?;
        let series = self.series.get_mut(&names)?;
        series.members.remove(&id);
        if series.members.is_empty() { self.series.remove(&names) } else { None }
    }

    /// Whether there is no room for another series. Those that are there stay, and what is below a container that had no room has none
    /// either.
    fn is_over(&self, owner: &Owner, is_top: bool) -> bool {
        if owner.role == Role::Host || self.series.contains_key(&owner.names) {
            return false;
        }
        let overflow = usize::from(self.series.contains_key(&Owner::overflow().names));
        let n = self.series.len() - overflow - usize::from(self.series.contains_key(&Names::default()));
        n >= self.max_series || (!is_top && overflow > 0)
    }

    /// Cgroups whose retention is over.
    pub(crate) fn expired(&self, now: Duration, retention: Duration) -> Vec<u64> {
        let is_over =
            |member: &Member| member.removed_at.is_some_and(|at| now.saturating_sub(at) >= retention);
        self.members.iter().filter(|(_, member)| is_over(member)).map(|(id, _)| *id).collect()
    }

    /// Ends a member; what it had counted stays with its series, as long as that has another member.
    pub(crate) fn end(&mut self, id: u64, last: Option<&Counts>) {
        let Some(member) = self.members.remove(&id) else { return };
        let add = |sums: &mut Option<Sums>| {
            if let Some(last) = last {
                sums.get_or_insert_with(|| Sums::zero(last)).add(last, member.place);
            }
        };
        let Some(names) = member.names else { return add(&mut self.nobody) };
        let Some(series) = self.series.get_mut(&names) else { return };
        series.members.remove(&id);
        if series.members.is_empty() {
            self.series.remove(&names);
            return;
        }
        add(&mut series.base);
        series.base_files.add(&member.files);
    }

    /// Reads the files of all cgroups that are there, and when their first process has started.
    pub(crate) fn read_files(
        &mut self,
        mut read: impl FnMut(&Path) -> Option<FileCounters>,
        started: impl Fn(&Path) -> Option<Duration>,
    ) {
        for member in self.members.values_mut().filter(|member| member.is_top) {
            let Some(path) = member.live() else { continue };
            let files = read(path);
            let at = member.started_at.or_else(|| started(path));
            member.files = files.unwrap_or(member.files);
            member.started_at = at;
        }
    }

    pub(crate) fn series(&self) -> impl Iterator<Item = (&Names, &Series)> {
        self.series.iter()
    }

    /// All cgroups, by id.
    pub(crate) fn members(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// The series that a cgroup counts for, and what it is to it.
    pub(crate) fn names_of(&self, id: u64) -> Option<(&Names, Place)> {
        let member = self.members.get(&id)?;
        Some((member.names.as_ref()?, member.place))
    }

    /// What belongs to no series: of cgroups that were gone before anybody could tell whose they were, and of an earlier pod.
    pub(crate) fn nobody(&self, snapshot: &Snapshot) -> Sums {
        let mut sums = self.nobody.clone().unwrap_or_else(|| Sums::zero(&snapshot.rest));
        for (id, counts) in &snapshot.cgroups {
            // Who waits for names will have some.
            let is_lost = |member: &Member| member.names.is_none() && member.removed_at.is_some();
            if self.members.get(id).is_some_and(is_lost) {
                sums.add(counts, Place::Below);
            }
        }
        sums
    }

    /// How many cgroups are there, and how many were.
    pub(crate) fn n_members(&self) -> (usize, usize) {
        let removed = self.members.values().filter(|member| member.removed_at.is_some()).count();
        (self.members.len() - removed, removed)
    }

    pub(crate) fn sums(&self, series: &Series, snapshot: &Snapshot) -> Sums {
        let mut sums = series.base.clone().unwrap_or_else(|| Sums::zero(&snapshot.rest));
        for (id, member) in self.members_of(series) {
            if let Some(counts) = snapshot.cgroups.get(&id) {
                sums.add(counts, member.place);
            }
        }
        sums
    }

    pub(crate) fn files(&self, series: &Series) -> FileCounters {
        let mut files = series.base_files;
        for (_, member) in self.members_of(series) {
            files.add(&member.files);
        }
        files
    }

    /// Unix time at which the newest container's first process started.
    pub(crate) fn started_at(&self, series: &Series) -> Option<Duration> {
        self.members_of(series).filter_map(|(_, member)| member.started_at).max()
    }

    /// Paths of the series' cgroups that are there; true for the container's own.
    pub(crate) fn live<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (&'a Path, bool)> {
        self.members_of(series).filter_map(|(_, member)| Some((member.live()?, member.is_top)))
    }

    fn members_of<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (u64, &'a Member)> {
        series.members.iter().filter_map(|id| Some((*id, self.members.get(id)?)))
    }
}
