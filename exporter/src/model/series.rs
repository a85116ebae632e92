//! The series, and the cgroups behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use podproof_ebpf::counters::{Counts, Snapshot};

use super::{Names, Owner, Sums};
use crate::cgroups::{Cgroup, FileCounters};
use crate::resolve::Found;

/// What the kernel side has to be told after a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Cgroups to count for from here on.
    pub(crate) begin: Vec<u64>,
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

/// A cgroup that is there, or was.
#[derive(Debug)]
struct Member {
    /// `None` when it was gone before anybody saw its path.
    path: Option<PathBuf>,
    /// The series that it counts for; `None` while it waits for its names, and for who has none.
    names: Option<Names>,
    seen_at: Duration,
    /// It is the container's or the pod's own, not one below.
    is_top: bool,
    /// What its files said last.
    files: FileCounters,
    removed_at: Option<Duration>,
}

impl Member {
    fn new(now: Duration) -> Self {
        Self {
            path: None,
            names: None,
            seen_at: now,
            is_top: false,
            files: FileCounters::default(),
            removed_at: None,
        }
    }
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

/// All series.
#[derive(Debug, Default)]
pub(crate) struct Model {
    members: BTreeMap<u64, Member>,
    series: BTreeMap<Names, Series>,
    /// Of cgroups that were nobody's, and are no members any more.
    nobody: Option<Sums>,
}

impl Model {
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
            member.path.get_or_insert_with(|| cgroup.path.clone());
            if member.names.is_some() {
                continue;
            }
            let found = owner_of(&cgroup.path);
            if found.is_provisional && now.saturating_sub(member.seen_at) < times.wait {
                changes.is_waiting = true;
                continue;
            }
            member.names = Some(found.owner.names.clone());
            member.is_top = found.is_top;
            self.join(cgroup.id, found);
        }
        // Born and gone between two looks: still counted, by nobody's name.
        for id in counted {
            self.members.entry(id).or_insert_with(|| Member::new(now));
        }
        for (id, member) in &mut self.members {
            if !there.contains(id) {
                member.removed_at.get_or_insert(now);
            }
        }
        changes
    }

    /// Makes a cgroup count for its owner's series.
    fn join(&mut self, id: u64, found: Found) {
        let Found { owner, is_top, .. } = found;
        let series = self.series.entry(owner.names.clone()).or_insert_with(|| Series {
            owner: owner.clone(),
            n_runs: 0,
            base: None,
            base_files: FileCounters::default(),
            members: BTreeSet::new(),
        });
        // Another pod of the same name is a new one, and its counters begin again.
        if series.owner.pod_uid != owner.pod_uid {
            for id in std::mem::take(&mut series.members) {
                if let Some(member) = self.members.get_mut(&id) {
                    (member.path, member.names) = (None, None);
                }
            }
            (series.base, series.base_files, series.n_runs) = (None, FileCounters::default(), 0);
        }
        if is_top {
            series.n_runs += 1;
            series.owner = owner;
        }
        series.members.insert(id);
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
                sums.get_or_insert_with(|| Sums::zero(last)).add(last);
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

    /// Reads the files of all cgroups that are there.
    pub(crate) fn read_files(&mut self, read: impl Fn(&Path) -> Option<FileCounters>) {
        for member in self.members.values_mut().filter(|member| member.is_top && member.removed_at.is_none())
        {
            if let Some(files) = member.path.as_deref().and_then(&read) {
                member.files = files;
            }
        }
    }

    pub(crate) fn series(&self) -> impl Iterator<Item = (&Names, &Series)> {
        self.series.iter()
    }

    /// Names of the series that a cgroup counts for.
    pub(crate) fn names_of(&self, id: u64) -> Option<&Names> {
        self.members.get(&id)?.names.as_ref()
    }

    /// What belongs to no series: of cgroups that were gone before anybody could tell whose they were, and of an earlier pod.
    pub(crate) fn nobody(&self, snapshot: &Snapshot) -> Sums {
        let mut sums = self.nobody.clone().unwrap_or_else(|| Sums::zero(&snapshot.rest));
        for (id, counts) in &snapshot.cgroups {
            // Who waits for names will have some.
            let is_lost = |member: &Member| member.names.is_none() && member.removed_at.is_some();
            if self.members.get(id).is_some_and(is_lost) {
                sums.add(counts);
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
        for id in &series.members {
            if let Some(counts) = snapshot.cgroups.get(id) {
                sums.add(counts);
            }
        }
        sums
    }

    pub(crate) fn files(&self, series: &Series) -> FileCounters {
        let mut files = series.base_files;
        for member in series.members.iter().filter_map(|id| self.members.get(id)) {
            files.add(&member.files);
        }
        files
    }

    /// Paths of the series' cgroups that are there; true for the container's own.
    pub(crate) fn live<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (&'a Path, bool)> {
        let members = series.members.iter().filter_map(|id| self.members.get(id));
        members
            .filter(|member| member.removed_at.is_none())
            .filter_map(|member| Some((member.path.as_deref()?, member.is_top)))
    }
}
