//! The series, and the cgroups behind them.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use podproof_ebpf::counters::{Counts, Snapshot};

use super::member::Member;
use super::{Dropped, First, Lost, Names, Outcome, Owner, PathSource, Place, Role, Source, Sums, Tally};
use crate::cgroups::{Cgroup, FileCounters, FileGauges, Files, above_payload};
use crate::resolve::Found;

/// What has to be done after a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Cgroups that are not counted for.
    pub(crate) begin: Vec<u64>,
    /// How many are there that nobody had told of.
    pub(crate) n_found: usize,
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
    /// Its cgroup: ids of later ones are greater.
    owner_id: u64,
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
        let (base_files, members) = (FileCounters::default(), BTreeSet::new());
        Self { owner, owner_id: 0, n_runs: 0, base: None, base_files, members }
    }

    pub(crate) fn cgroup_ids(&self) -> impl Iterator<Item = u64> {
        self.members.iter().copied()
    }

    /// Takes over what another has counted, and the cgroups that count for it.
    fn absorb(&mut self, other: Self) {
        if let Some(sums) = other.base {
            self.base.get_or_insert_with(|| sums.zeroed()).merge(&sums);
        }
        self.base_files.add(&other.base_files);
        self.members.extend(other.members);
    }
}

/// All series.
#[derive(Debug)]
pub(crate) struct Model {
    members: BTreeMap<u64, Member>,
    series: BTreeMap<Names, Series>,
    /// Series of containers and pods that there may be, beside the host's and the overflow.
    max_series: usize,
    /// Series that differ in it are shown as one.
    dropped: Option<Dropped>,
    /// What of these has ended, by the names under which it was shown: a sum must not fall. It lasts as long as any of them does.
    ended: BTreeMap<Names, Series>,
    /// Of cgroups that were nobody's, and are no members any more.
    nobody: BTreeMap<Lost, Sums>,
    pub(crate) tally: Tally,
}

impl Model {
    pub(crate) fn new(max_series: usize, dropped: Option<Dropped>) -> Self {
        Self {
            members: BTreeMap::new(),
            series: BTreeMap::new(),
            max_series,
            dropped,
            ended: BTreeMap::new(),
            nobody: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// Takes over which cgroups there are now. `born` are those that were made since the last time, with their paths, and `counted`
    /// those that the kernel counts for; `owner_of` is told whether a cgroup has waited for its names.
    pub(crate) fn compare(
        &mut self,
        tree: &[Cgroup],
        born: BTreeMap<u64, PathBuf>,
        counted: &BTreeSet<u64>,
        times: Times,
        owner_of: impl Fn(&Path, bool) -> Found,
    ) -> Changes {
        let now = times.now;
        let mut changes = Changes::default();
        let there: BTreeSet<u64> = tree.iter().map(|cgroup| cgroup.id).collect();
        for (id, path) in born {
            if let Entry::Vacant(entry) = self.members.entry(id) {
                entry.insert(Member::new(now)).path = Some(path);
                self.tally.path(PathSource::MkdirEvent, Outcome::Ok);
            }
        }
        for cgroup in tree {
            let member = self.members.entry(cgroup.id).or_insert_with(|| {
                changes.n_found += 1;
                Member::new(now)
            });
            if member.path.is_none() {
                member.path = Some(cgroup.path.clone());
                self.tally.path(PathSource::Walk, Outcome::Ok);
            }
        }
        // Born and gone between two looks, without a path: still counted, by nobody's name.
        for id in counted {
            self.members.entry(*id).or_insert_with(|| {
                self.tally.path(PathSource::Walk, Outcome::Gone);
                Member::new(now)
            });
        }
        let mut uncounted = Vec::new();
        for (id, member) in &mut self.members {
            if there.contains(id) {
                // A walk may miss what is there.
                member.removed_at = None;
            } else if member.removed_at.is_none() {
                member.removed_at = Some(now);
                changes.n_removed += 1;
            } else if !counted.contains(id) {
                uncounted.push(*id);
            }
        }
        // Nothing more will be known of them, and there is no end of how many there can be.
        for id in uncounted {
            self.end(id, None);
        }
        changes.begin = there.difference(counted).copied().collect();
        changes.is_waiting = self.name(times, owner_of);
        // The last of a group may have been given other names.
        let Self { ended, series, dropped, .. } = self;
        ended.retain(|shown, _| is_shown(series, shown, *dropped));
        changes
    }

    /// Gives names to those that have none, or have ids only, be they there or gone; the older first. Whether any waits for its own.
    fn name(&mut self, times: Times, owner_of: impl Fn(&Path, bool) -> Found) -> bool {
        let (mut named, mut is_waiting) = (Vec::new(), false);
        for (id, member) in &self.members {
            if member.is_displaced || member.names.is_some() && !member.is_provisional {
                continue;
            }
            let Some(path) = &member.path else { continue };
            let has_waited = times.now.saturating_sub(member.seen_at) >= times.wait;
            let found = owner_of(path, has_waited);
            if found.is_provisional {
                if member.names.is_some() {
                    continue;
                }
                if !has_waited {
                    is_waiting = true;
                    continue;
                }
            }
            named.push((*id, found));
        }
        for (id, found) in named {
            self.join(id, found);
        }
        is_waiting
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
        let was_shown = self.members.get(&id).is_some_and(|member| member.names.is_some());
        // The one switch from ids to names: what was counted goes along.
        let before = self.leave(id);
        if let Some(member) = self.members.get_mut(&id) {
            member.pod_uid.clone_from(&owner.pod_uid);
        }
        if self.has_newer(&owner) {
            self.members.entry(id).and_modify(|member| member.displace(was_shown));
            return;
        }
        if !was_shown && self.is_over(&owner, is_top) {
            self.tally.n_limited += u64::from(is_top);
            owner = Owner::overflow();
        }
        let is_payload = !is_top && self.is_payload(id, &owner);
        let Some(member) = self.members.get_mut(&id) else { return };
        member.names = Some(owner.names.clone());
        // Who was counted with others once stays with them: their sum must not fall.
        member.is_provisional = is_provisional && owner.role != Role::Overflow;
        member.is_top = is_top;
        member.place = match owner.role {
            Role::App | Role::Init if is_top || is_payload => Place::Container,
            Role::Sandbox => Place::Sandbox,
            _ => Place::Below,
        };
        let series = self.series.entry(owner.names.clone()).or_insert_with(|| Series::new(owner.clone()));
        // A new pod's counters begin again, but for those that it is shown with.
        if series.owner.pod_uid != owner.pod_uid {
            let earlier = std::mem::replace(series, Series::new(owner.clone()));
            for id in &earlier.members {
                let Some(member) = self.members.get_mut(id) else { continue };
                member.displace(true);
                if earlier.owner.role == Role::Pod {
                    // Its files have those of its containers.
                    (member.files, member.is_top) = (FileCounters::default(), false);
                }
            }
            keep(&mut self.ended, &owner.names, self.dropped, earlier);
        }
        if is_top {
            series.n_runs += 1;
            if id >= series.owner_id {
                (series.owner, series.owner_id) = (owner, id);
            }
        }
        if let Some(before) = before {
            series.absorb(before);
        }
        series.members.insert(id);
    }

    /// Whether its container's processes are in it: directly below the container's own.
    fn is_payload(&self, id: u64, owner: &Owner) -> bool {
        let path_of = |id: u64| self.members.get(&id)?.path.as_deref();
        let Some(above) = path_of(id).and_then(above_payload) else { return false };
        let series = self.series.get(&owner.names);
        let is_own = |id: &u64| self.members.get(id).is_some_and(|member| member.is_top);
        series.is_some_and(|series| series.members.iter().any(|id| is_own(id) && path_of(*id) == Some(above)))
    }

    /// Whether another pod has these names, and is newer: one of two pods of one name is shown, as long as it lasts.
    fn has_newer(&self, owner: &Owner) -> bool {
        let birth =
            |uid: &str| self.members.iter().find(|(_, member)| member.pod_uid == uid).map(|(id, _)| id);
        let other = self.series.get(&owner.names).map(|series| &series.owner.pod_uid);
        other.is_some_and(|uid| *uid != owner.pod_uid && birth(&owner.pod_uid) < birth(uid))
    }

    /// Remembers what those have counted that lost their names to a newer pod: that is no event of nobody, as it was shown.
    pub(crate) fn settle(&mut self, snapshot: &Snapshot) {
        for (id, member) in self.members.iter_mut().filter(|(_, member)| member.is_displaced) {
            if let Some(counts) = snapshot.cgroups.get(id).filter(|_| member.before.is_none()) {
                let mut before = Sums::zero(counts);
                before.add(counts, member.place);
                member.before = Some(before);
            }
        }
    }

    /// Takes a cgroup out of its series; the series itself if that was its last one.
    fn leave(&mut self, id: u64) -> Option<Series> {
        let Some(names) = self.members.get_mut(&id)?.names.take() else {
            self.ended.values_mut().for_each(|ended| _ = ended.members.remove(&id));
            return None;
        };
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

    /// Whether its series goes on without it.
    pub(crate) fn has_others(&self, id: u64) -> bool {
        let series = self.members.get(&id).and_then(|member| self.series.get(member.names.as_ref()?));
        series.is_some_and(|series| series.members.len() > 1)
    }

    /// Cgroups that are gone and need not be kept until their retention is over, those that went first at the beginning: those of no
    /// container or pod, and then, `if_need_be`, their own that are gone for so long.
    pub(crate) fn spare(&self, now: Duration, if_need_be: Option<Duration>) -> Vec<u64> {
        let is_spare = |member: &Member, at: Duration| {
            !member.is_top || if_need_be.is_some_and(|time| now.saturating_sub(at) >= time)
        };
        let gone = self.members.iter().filter_map(|(id, member)| Some((*id, member, member.removed_at?)));
        let mut spare: Vec<_> = gone.filter(|(_, member, at)| is_spare(member, *at)).collect();
        spare.sort_by_key(|(id, member, at)| (member.is_top, *at, *id));
        spare.into_iter().map(|(id, ..)| id).collect()
    }

    /// Ends a member; what it had counted stays with its series, as long as that has another member, and with those that it is shown
    /// with.
    pub(crate) fn end(&mut self, id: u64, last: Option<&Counts>) {
        let Some(member) = self.members.remove(&id) else { return };
        let series = match &member.names {
            Some(names) => self.series.get_mut(names),
            // Of an earlier pod.
            None => self.ended.values_mut().find(|ended| ended.members.contains(&id)),
        };
        let Some(series) = series else {
            if let Some(last) = last {
                let reason = member.lost().unwrap_or(Lost::NoMetadata);
                member.add_lost(last, self.nobody.entry(reason).or_insert_with(|| Sums::zero(last)));
            }
            return;
        };
        series.members.remove(&id);
        if let Some(last) = last {
            series.base.get_or_insert_with(|| Sums::zero(last)).add(last, member.place);
        }
        series.base_files.add(&member.files);
        if let Some(names) = member.names.filter(|_| series.members.is_empty())
            && let Some(last) = self.series.remove(&names)
        {
            keep(&mut self.ended, &names, self.dropped, last);
            let shown = names.without(self.dropped);
            if !is_shown(&self.series, &shown, self.dropped) {
                self.ended.remove(&*shown);
            }
        }
    }

    /// Reads the files of all cgroups that are there, and their first process.
    pub(crate) fn read_files(
        &mut self,
        mut read: impl FnMut(&Path) -> Option<Files>,
        first: impl Fn(&Path) -> Option<First>,
    ) {
        for member in self.members.values_mut().filter(|member| member.is_top) {
            let Some(path) = member.live() else { continue };
            let files = read(path);
            let first = member.first.or_else(|| first(path));
            member.files = files.map_or(member.files, |files| files.counters.or(&member.files));
            member.gauges = files.map_or_else(FileGauges::default, |files| files.gauges);
            member.first = first;
        }
    }

    pub(crate) fn series(&self) -> impl Iterator<Item = (&Names, &Series)> {
        self.series.iter()
    }

    /// The label that is dropped.
    pub(crate) fn dropped(&self) -> Option<Dropped> {
        self.dropped
    }

    /// What has ended of the series that are shown under these names.
    pub(crate) fn ended(&self, shown: &Names) -> Option<&Series> {
        self.ended.get(shown)
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

    /// What belongs to no series: of cgroups that were gone before anybody could tell whose they were, and of an earlier pod since it lost
    /// its names.
    pub(crate) fn nobody(&self, reason: Lost, snapshot: &Snapshot) -> Sums {
        let mut sums = self.nobody.get(&reason).cloned().unwrap_or_else(|| Sums::zero(&snapshot.rest));
        for (id, counts) in &snapshot.cgroups {
            let is_kept = || self.ended.values().any(|ended| ended.members.contains(id));
            let member = self.members.get(id).filter(|member| member.lost() == Some(reason));
            if let Some(member) = member.filter(|_| !is_kept()) {
                member.add_lost(counts, &mut sums);
            }
        }
        sums
    }

    /// Containers, sandboxes and pods that are there and have no series of their own.
    pub(crate) fn n_overflow(&self) -> usize {
        let overflow = self.series.get(&Owner::overflow().names);
        overflow.map_or(0, |series| self.live(series).filter(|(_, is_top)| *is_top).count())
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

    /// What the files of the container's own cgroup say, as long as that is there.
    pub(crate) fn gauges(&self, series: &Series) -> FileGauges {
        self.newest_own(series).map_or_else(FileGauges::default, |member| member.gauges)
    }

    /// Unix time at which the newest container's first process started.
    pub(crate) fn started_at(&self, series: &Series) -> Option<Duration> {
        self.members_of(series).filter_map(|(_, member)| Some(member.first?.at)).max()
    }

    /// The first process of the newest container that is there, if it is known.
    pub(crate) fn first(&self, series: &Series) -> Option<First> {
        self.newest_own(series)?.first
    }

    /// The own cgroup of the newest container that is there.
    fn newest_own<'a>(&'a self, series: &'a Series) -> Option<&'a Member> {
        let members = self.members_of(series).map(|(_, member)| member);
        members.filter(|member| member.is_top && member.live().is_some()).last()
    }

    /// Paths of the series' cgroups that are there; true for the container's own.
    pub(crate) fn live<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (&'a Path, bool)> {
        self.members_of(series).filter_map(|(_, member)| Some((member.live()?, member.is_top)))
    }

    fn members_of<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (u64, &'a Member)> {
        series.members.iter().filter_map(|id| Some((*id, self.members.get(id)?)))
    }
}

/// Keeps what a series has counted that others are shown with; not the files of a pod's own cgroup, which have those of its containers.
fn keep(ended: &mut BTreeMap<Names, Series>, names: &Names, dropped: Option<Dropped>, series: Series) {
    if let Cow::Owned(shown) = names.without(dropped) {
        let base_files =
            if series.owner.role == Role::Pod { FileCounters::default() } else { series.base_files };
        let owner = series.owner.clone();
        ended.entry(shown).or_insert_with(|| Series::new(owner)).absorb(Series { base_files, ..series });
    }
}

/// Whether there are series that are shown under these names.
fn is_shown(series: &BTreeMap<Names, Series>, shown: &Names, dropped: Option<Dropped>) -> bool {
    series.range(shown..).next().is_some_and(|(names, _)| *names.without(dropped) == *shown)
}
