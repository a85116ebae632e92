//! The life of a series, played with a clock of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use podproof_ebpf::counters::{Counter, Counts, Snapshot};

use super::{Dropped, Lost, Model, Names, Outcome, Owner, PathSource, Place, Role, Source, Times};
use crate::cgroups::{Cgroup, FileCounters, FileGauges, Files};
use crate::resolve::Found;

const RETENTION: Duration = Duration::from_secs(300);
const WAIT: Duration = Duration::from_secs(5);

/// A node on which each cgroup `[NAMESPACE:]POD.UID/CONTAINER.RUN` belongs to that container.
struct Node {
    model: Model,
    /// What is there.
    tree: BTreeMap<u64, &'static str>,
    /// What was made since the last look.
    born: BTreeMap<u64, PathBuf>,
    /// What the kernel counts.
    execs: BTreeMap<u64, u64>,
    now: Duration,
    has_names: bool,
}

impl Node {
    fn new() -> Self {
        Self::with_room(100)
    }

    fn with_room(max_series: usize) -> Self {
        Self::of(Model::new(max_series, None))
    }

    fn without(label: Dropped) -> Self {
        Self::of(Model::new(100, Some(label)))
    }

    fn of(model: Model) -> Self {
        let (tree, born, execs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { model, tree, born, execs, now: Duration::ZERO, has_names: true }
    }

    fn make(&mut self, id: u64, path: &'static str) {
        self.tree.insert(id, path);
        self.execs.insert(id, 0);
    }

    /// Made, and gone before anybody looks.
    fn run(&mut self, id: u64, path: &str, execs: u64) {
        self.born.insert(id, path.into());
        self.execs.insert(id, execs);
    }

    fn look(&mut self) -> bool {
        let tree: Vec<Cgroup> =
            self.tree.iter().map(|(id, path)| Cgroup { id: *id, path: path.into() }).collect();
        let times = Times { now: self.now, wait: WAIT };
        let is_provisional = !self.has_names;
        let (born, counted) = (std::mem::take(&mut self.born), self.execs.keys().copied().collect());
        let changes = self.model.compare(&tree, born, &counted, times, |path, _| found(path, is_provisional));
        for id in self.model.expired(self.now, RETENTION) {
            let last = self.execs.remove(&id).map(counts);
            self.model.end(id, last.as_ref());
        }
        self.model.settle(&self.snapshot());
        changes.is_waiting
    }

    fn later(&mut self, time: Duration) {
        self.now += time;
        self.look();
    }

    fn snapshot(&self) -> Snapshot {
        let cgroups = self.execs.iter().map(|(id, value)| (*id, counts(*value))).collect();
        Snapshot { node: counts(0), cgroups, rest: counts(0) }
    }

    /// Execs by pod and container.
    fn shown(&self) -> Vec<(String, u64)> {
        let snapshot = self.snapshot();
        let series = self.model.series().map(|(names, series)| {
            let execs = self.model.sums(series, &snapshot).of(&[Counter::Execs]);
            (format!("{}/{}", names.pod, names.container), execs.unwrap_or(u64::MAX))
        });
        series.collect()
    }

    /// Execs, and refused forks, of all in the namespace `shop` as they are shown together; `None` when there is none.
    fn together(&self) -> Option<[u64; 2]> {
        let (snapshot, shop) = (self.snapshot(), Names::new("shop", "", ""));
        let own = self.model.series().filter(|(names, _)| *names.without(self.model.dropped()) == shop);
        let own: Vec<_> = own.map(|(_, series)| series).collect();
        let execs = |series| self.model.sums(series, &snapshot).of(&[Counter::Execs]).unwrap_or(u64::MAX);
        let hits = |series| self.model.files(series).pids_limit_hits.unwrap_or(0);
        let all = own.iter().copied().chain(self.model.ended(&shop));
        let sums =
            all.map(|series| [execs(series), hits(series)]).fold([0, 0], |a, b| [a[0] + b[0], a[1] + b[1]]);
        (!own.is_empty()).then_some(sums)
    }

    /// Execs of nobody, for any reason.
    fn lost(&self) -> u64 {
        Lost::ALL.iter().map(|reason| self.lost_by(*reason)).sum()
    }

    fn lost_by(&self, reason: Lost) -> u64 {
        self.model.nobody(reason, &self.snapshot()).of(&[Counter::Execs]).unwrap_or(u64::MAX)
    }
}

fn counts(execs: u64) -> Counts {
    [(Counter::Execs, execs)].into_iter().collect()
}

fn found(path: &Path, is_provisional: bool) -> Found {
    let text = path.to_str().unwrap();
    let (namespace, text) = text.split_once(':').unwrap_or(("", text));
    let (pod, container) = text.split_once('/').unwrap();
    let (pod, uid) = pod.split_once('.').unwrap();
    let container_id = container.split('/').next().unwrap().to_owned();
    let container = container.split(['.', '/']).next().unwrap();
    let names =
        if is_provisional { Names::new("", uid, container) } else { Names::new(namespace, pod, container) };
    let owner = Owner { names, role: Role::App, container_id, pod_uid: uid.to_owned(), ..Owner::host() };
    let source = Some(if is_provisional { Source::CgroupPath } else { Source::LogDir });
    Found { owner, is_top: path.components().count() == 2, is_provisional, source }
}

fn one(name: &str, value: u64) -> Vec<(String, u64)> {
    vec![(name.to_owned(), value)]
}

#[test]
fn a_container_that_is_started_again_goes_on_counting() {
    let mut node = Node::new();
    node.make(1, "web.u/main.0");
    node.look();
    node.execs.insert(1, 5);
    node.tree.remove(&1);
    node.make(2, "web.u/main.1");
    node.look();
    node.execs.insert(2, 3);
    assert_eq!(node.shown(), one("web/main", 8));
    // A late event of the first run still counts.
    node.execs.insert(1, 6);
    node.later(RETENTION);
    assert_eq!(node.shown(), one("web/main", 9));
    assert!(!node.execs.contains_key(&1));
}

#[test]
fn groups_below_a_container_are_its_own() {
    let mut node = Node::new();
    node.make(1, "web.u/main.0");
    node.make(2, "web.u/main.0/inner");
    node.look();
    node.execs.extend([(1, 2), (2, 3)]);
    assert_eq!(node.shown(), one("web/main", 5));
    node.tree.remove(&2);
    node.later(RETENTION);
    node.later(RETENTION);
    assert_eq!(node.shown(), one("web/main", 5));
}

#[test]
fn a_removed_container_stays_for_its_retention() {
    let mut node = Node::new();
    node.make(1, "web.u/main.0");
    node.look();
    node.execs.insert(1, 5);
    node.tree.remove(&1);
    node.look();
    node.later(RETENTION.saturating_sub(Duration::from_secs(1)));
    assert_eq!(node.shown(), one("web/main", 5));
    assert_eq!(node.model.n_members(), (0, 1));
    node.later(Duration::from_secs(1));
    assert!(node.shown().is_empty() && node.execs.is_empty());
    assert_eq!((node.model.n_members(), node.lost()), ((0, 0), 0));
}

#[test]
fn another_pod_of_the_same_name_begins_at_zero() {
    let mut node = Node::new();
    node.make(1, "web.u/main.0");
    node.look();
    node.execs.insert(1, 5);
    node.tree.remove(&1);
    node.make(2, "web.v/main.0");
    node.look();
    node.execs.insert(2, 1);
    // What was shown is nobody's no more than before, but what comes late is.
    assert_eq!((node.shown(), node.lost()), (one("web/main", 1), 0));
    node.execs.insert(1, 6);
    assert_eq!((node.shown(), node.lost()), (one("web/main", 1), 1));
    node.later(RETENTION);
    assert_eq!((node.shown(), node.lost()), (one("web/main", 1), 1));
}

#[test]
fn of_two_pods_of_one_name_the_newer_is_shown() {
    let mut node = Node::new();
    // The order of the names is not that of the births.
    node.make(1, "web.v/main.0");
    node.make(2, "web.v/side.0");
    node.look();
    node.execs.extend([(1, 5), (2, 1)]);
    node.make(3, "web.u/main.0");
    node.look();
    let shown =
        |main: u64| [("web/main", main), ("web/side", 1)].map(|(name, n)| (name.to_owned(), n)).to_vec();
    node.execs.insert(3, 7);
    assert_eq!((node.shown(), node.lost()), (shown(7), 0));
    let before = node.model.tally.names.clone();
    node.later(Duration::from_secs(1));
    assert_eq!((node.shown(), node.lost()), (shown(7), 0));
    assert_eq!(node.model.tally.names, before);

    // The older one goes on, and starts its container again; the newer one does, too, and keeps what it counted.
    node.execs.insert(1, 6);
    node.make(4, "web.v/main.1");
    node.tree.remove(&3);
    node.make(5, "web.u/main.1");
    node.look();
    node.execs.extend([(4, 2), (5, 3)]);
    assert_eq!((node.shown(), node.lost()), (shown(10), 3));
    node.later(RETENTION);
    assert_eq!((node.shown(), node.lost()), (shown(10), 3));
}

#[test]
fn two_pods_of_one_name_that_were_there_before() {
    let mut node = Node::new();
    node.make(1, "web.v/main.0");
    node.make(2, "web.u/main.0");
    node.look();
    for n in [5, 6] {
        node.execs.extend([(1, n), (2, 7)]);
        node.look();
        assert_eq!((node.shown(), node.lost()), (one("web/main", 7), n));
    }
}

#[test]
fn names_are_waited_for_and_then_ids_are_shown() {
    let mut node = Node::new();
    node.has_names = false;
    node.make(1, "web.u/main.0");
    assert!(node.look());
    assert!(node.shown().is_empty());
    node.execs.insert(1, 4);
    assert_eq!(node.lost(), 0);
    node.has_names = true;
    node.later(Duration::from_secs(1));
    assert_eq!(node.shown(), one("web/main", 4));

    node.has_names = false;
    node.make(2, "db.v/main.0");
    node.look();
    node.later(WAIT);
    assert_eq!(node.shown(), [("v/main".to_owned(), 0), ("web/main".to_owned(), 4)]);
}

#[test]
fn names_that_come_late_take_the_place_of_ids_with_the_whole_count() {
    let mut node = Node::new();
    node.has_names = false;
    node.make(1, "web.u/main.0");
    node.make(2, "web.u/main.0/inner");
    node.look();
    node.later(WAIT);
    node.execs.extend([(1, 4), (2, 3)]);
    assert_eq!(node.shown(), one("u/main", 7));
    // The cgroup below has ended; what it counted is kept by the series.
    node.tree.remove(&2);
    node.later(RETENTION);
    node.later(RETENTION);
    node.has_names = true;
    node.look();
    assert_eq!(node.shown(), one("web/main", 7));
    node.has_names = false;
    node.look();
    assert_eq!(node.shown(), one("web/main", 7));
    let of = |source, outcome| node.model.tally.names[&(source, outcome)];
    assert_eq!([of(Source::LogDir, Outcome::Miss), of(Source::CgroupPath, Outcome::Ok)], [1, 1]);
    assert_eq!(of(Source::LogDir, Outcome::Ok), 1);
}

#[test]
fn what_there_is_no_room_for_is_one_series() {
    let mut node = Node::with_room(2);
    node.make(1, "a.u/main.0");
    node.make(2, "b.u/main.0");
    node.look();
    node.make(3, "c.u/main.0");
    node.make(4, "c.u/main.0/inner");
    node.make(5, "d.u/main.0");
    // A new run of who has a series keeps it.
    node.make(6, "a.u/main.1");
    node.look();
    node.execs.extend([(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)]);
    let shown = |overflow: u64| {
        [("/_overflow", overflow), ("a/main", 7), ("b/main", 2)]
            .map(|(name, n)| (name.to_owned(), n))
            .to_vec()
    };
    assert_eq!((node.shown(), node.model.tally.n_limited), (shown(12), 2));
    assert_eq!(node.model.n_overflow(), 2);
    node.tree.remove(&3);
    node.later(RETENTION);
    node.later(RETENTION);
    assert_eq!((node.shown(), node.model.n_overflow()), (shown(12), 1));
    // Another run of who has no room has none either.
    node.make(7, "d.u/main.1");
    node.look();
    assert_eq!((node.model.n_overflow(), node.model.tally.n_limited), (2, 3));
    node.tree.remove(&7);
    for id in [4, 5] {
        node.tree.remove(&id);
    }
    node.later(RETENTION);
    node.later(RETENTION);
    assert_eq!(node.shown(), shown(0)[1..]);
}

#[test]
fn who_was_counted_with_others_stays_with_them_when_its_names_come() {
    let mut node = Node::with_room(1);
    node.has_names = false;
    node.make(1, "a.u/main.0");
    node.make(2, "b.v/main.0");
    node.make(3, "b.v/main.0/inner");
    node.look();
    node.later(WAIT);
    node.execs.extend([(1, 1), (2, 2), (3, 4)]);
    let shown =
        |own: &str| [("/_overflow", 6), (own, 1)].map(|(name, value)| (name.to_owned(), value)).to_vec();
    assert_eq!((node.shown(), node.model.tally.n_limited), (shown("u/main"), 1));
    node.has_names = true;
    for _ in 0..2 {
        node.look();
        assert_eq!((node.shown(), node.model.tally.n_limited), (shown("a/main"), 1));
    }
    // Also when there is room again.
    node.tree.remove(&1);
    node.later(RETENTION);
    node.later(RETENTION);
    assert_eq!((node.shown(), node.model.tally.n_limited), (one("/_overflow", 6), 1));
}

#[test]
fn who_has_a_series_keeps_it_when_its_names_come() {
    let mut node = Node::with_room(1);
    node.has_names = false;
    node.make(1, "a.u/main.0");
    node.make(2, "a.u/main.0/inner");
    node.look();
    node.later(WAIT);
    node.execs.extend([(1, 1), (2, 2)]);
    assert_eq!(node.shown(), one("u/main", 3));
    // The first of its cgroups comes to a series that there is no room for while the second still has the old one.
    node.has_names = true;
    node.look();
    assert_eq!((node.shown(), node.model.tally.n_limited), (one("a/main", 3), 0));
}

#[test]
fn who_is_gone_before_anybody_looks_counts_for_nobody_and_stays_counted() {
    let mut node = Node::new();
    node.execs.insert(9, 7);
    node.look();
    assert_eq!((node.lost(), node.shown().len()), (7, 0));
    node.later(RETENTION);
    assert_eq!((node.lost(), node.execs.len()), (7, 0));
}

#[test]
fn runs_that_nobody_saw_count_for_their_container() {
    let mut node = Node::new();
    for (id, execs) in [(1, 2), (2, 3)] {
        node.run(id, "web.u/main", execs);
    }
    node.run(3, "web.u/main/inner", 4);
    node.look();
    assert_eq!((node.shown(), node.lost(), node.model.n_members()), (one("web/main", 9), 0, (0, 3)));
    node.run(4, "web.u/main", 1);
    node.later(RETENTION.saturating_sub(Duration::from_secs(1)));
    assert_eq!(node.shown(), one("web/main", 10));
    // The first runs are forgotten, and what they counted is not.
    node.later(Duration::from_secs(1));
    assert_eq!((node.shown(), node.execs.len()), (one("web/main", 10), 1));
    let of = |source, outcome| node.model.tally.paths[&(source, outcome)];
    let wanted = [(PathSource::MkdirEvent, Outcome::Ok), (PathSource::Walk, Outcome::Gone)];
    assert_eq!(wanted.map(|(source, outcome)| of(source, outcome)), [4, 0]);
}

#[test]
fn who_ends_while_it_waits_for_names_gets_them_all_the_same() {
    let mut node = Node::new();
    node.has_names = false;
    node.make(1, "web.u/main.0");
    node.look();
    node.tree.remove(&1);
    node.run(2, "web.u/main.1", 2);
    node.run(3, "db.v/main.0", 3);
    node.execs.insert(1, 1);
    assert!(node.look());
    assert_eq!((node.shown().len(), node.lost()), (0, 0));
    // Nobody knows the names in time: ids, and later the names.
    node.later(WAIT);
    let shown = |of: [(&str, u64); 2]| of.map(|(name, value)| (name.to_owned(), value)).to_vec();
    assert_eq!((node.shown(), node.lost()), (shown([("u/main", 3), ("v/main", 3)]), 0));
    node.has_names = true;
    assert!(!node.look());
    assert_eq!(node.shown(), shown([("db/main", 3), ("web/main", 3)]));
}

#[test]
fn who_is_not_counted_is_asked_for_again() {
    let tree = [Cgroup { id: 1, path: "web.u/main.0".into() }, Cgroup { id: 2, path: "web.u/main.1".into() }];
    let times = Times { now: Duration::ZERO, wait: WAIT };
    let mut model = Model::new(100, None);
    let mut look = |born: &[u64], counted: &[u64]| {
        let born = born.iter().map(|id| (*id, "web.u/main.1".into())).collect();
        let counted = counted.iter().copied().collect();
        let changes = model.compare(&tree, born, &counted, times, |path, _| found(path, false));
        (changes.begin, changes.n_found)
    };
    assert_eq!(look(&[2], &[2]), (vec![1], 1));
    assert_eq!(look(&[], &[2]), (vec![1], 0));
    assert_eq!(look(&[], &[1, 2]), (vec![], 0));
}

#[test]
fn an_old_run_that_is_named_late_is_not_the_newest() {
    let mut model = Model::new(100, None);
    let mut look = |born: &[(u64, &str)], seconds: u64, nameless: &str| {
        let born = born.iter().map(|(id, path)| (*id, path.into())).collect();
        let times = Times { now: Duration::from_secs(seconds), wait: WAIT };
        model.compare(&[], born, &[1, 2].into(), times, |path, _| found(path, path.ends_with(nameless)));
        let shown = model.series().map(|(_, series)| (series.owner.container_id.clone(), series.n_runs));
        shown.collect::<Vec<_>>()
    };
    let of = |n_runs: u64| vec![("main.1".to_owned(), n_runs)];
    assert_eq!(look(&[(1, "web.u/main.0"), (2, "web.u/main.1")], 0, "main.0"), of(1));
    assert_eq!(look(&[], 1, "none"), of(2));
}

#[test]
fn who_is_gone_before_its_names_are_there_is_told_from_who_was_never_seen() {
    let mut node = Node::new();
    node.has_names = false;
    node.make(1, "web.u/main.0");
    node.execs.extend([(1, 3), (9, 7)]);
    node.look();
    // While it waits it is nobody's yet.
    let by_reason = |node: &Node| Lost::ALL.map(|reason| node.lost_by(reason));
    assert_eq!(by_reason(&node), [7, 0]);
    node.tree.remove(&1);
    node.look();
    assert_eq!(by_reason(&node), [7, 0]);
    // Its retention is shorter than that.
    let last = node.execs.remove(&1).map(counts);
    node.model.end(1, last.as_ref());
    assert_eq!(by_reason(&node), [7, 3]);
}

/// Files of a cgroup whose limit of tasks was hit so often, by one task.
fn hit(hits: u64) -> Files {
    let counters = FileCounters { pids_limit_hits: Some(hits), ..FileCounters::default() };
    Files { counters, gauges: FileGauges { pids: Some(1), pids_limit: None } }
}

#[test]
fn values_of_the_moment_are_those_of_what_is_there() {
    let mut node = Node::new();
    let pids = |node: &Node| {
        let (_, series) = node.model.series().next().unwrap();
        node.model.gauges(series).pids
    };
    node.make(1, "web.u/main.0");
    node.look();
    assert_eq!(pids(&node), None);
    node.model.read_files(|_| Some(hit(0)), |_| None);
    assert_eq!(pids(&node), Some(1));
    // They cannot be read.
    node.model.read_files(|_| None, |_| None);
    assert_eq!(pids(&node), None);
    node.model.read_files(|_| Some(hit(0)), |_| None);
    node.tree.remove(&1);
    node.look();
    assert_eq!(pids(&node), None);
}

#[test]
fn files_of_earlier_runs_stay_in_the_sum() {
    let mut node = Node::new();
    let read = |hits: u64| move |_: &Path| Some(hit(hits));
    node.make(1, "web.u/main.0");
    node.look();
    node.model.read_files(read(2), |_| None);
    node.tree.remove(&1);
    node.make(2, "web.u/main.1");
    node.look();
    node.model.read_files(read(3), |_| None);
    let hits =
        |node: &Node| node.model.series().map(|(_, series)| node.model.files(series).pids_limit_hits).next();
    assert_eq!(hits(&node), Some(Some(5)));
    node.later(RETENTION);
    assert_eq!(hits(&node), Some(Some(5)));
}

#[test]
fn what_is_shown_together_does_not_fall_when_a_part_of_it_ends() {
    let mut node = Node::without(Dropped::Pod);
    node.make(1, "shop:a.u/main.0");
    node.make(2, "shop:b.v/main.0");
    node.make(3, "shop:b.v/main.0/inner");
    node.make(4, "toys:c.w/main.0");
    node.look();
    node.model.read_files(|_| Some(hit(10)), |_| None);
    node.execs.extend([(1, 1), (2, 2), (3, 4), (4, 100)]);
    assert_eq!(node.together(), Some([7, 20]));
    for id in [2, 3] {
        node.tree.remove(&id);
    }
    node.look();
    // A late event, and then another container of this pod, which has no part in what the first has counted.
    node.execs.insert(3, 8);
    node.later(RETENTION);
    assert_eq!((node.together(), node.execs.len()), (Some([11, 20]), 2));
    node.make(5, "shop:b.x/main.0");
    node.look();
    node.execs.insert(5, 16);
    assert_eq!(node.together(), Some([27, 20]));
    // The last of them takes all with it, and who comes then begins at 0.
    for id in [1, 5] {
        node.tree.remove(&id);
    }
    node.look();
    node.later(RETENTION);
    assert_eq!((node.together(), node.lost()), (None, 0));
    node.make(6, "shop:a.u/main.1");
    node.look();
    assert_eq!(node.together(), Some([0, 0]));
}

#[test]
fn what_is_shown_together_does_not_fall_when_a_pod_is_made_anew() {
    let mut node = Node::without(Dropped::Pod);
    node.make(1, "shop:a.u/main.0");
    node.make(2, "shop:b.v/main.0");
    node.look();
    node.execs.extend([(1, 1), (2, 2)]);
    node.tree.remove(&1);
    node.make(3, "shop:a.w/main.0");
    node.look();
    // A late event of the first pod is one of them all, and not nobody's.
    node.execs.extend([(1, 9), (3, 4)]);
    assert_eq!((node.together(), node.lost()), (Some([15, 0]), 0));
    node.later(RETENTION);
    assert_eq!((node.together(), node.execs.len(), node.lost()), (Some([15, 0]), 2, 0));
}

#[test]
fn names_that_come_late_do_not_count_twice_in_what_is_shown_together() {
    let mut node = Node::without(Dropped::Pod);
    node.make(1, "shop:a.u/main.0");
    node.look();
    node.has_names = false;
    node.make(2, "shop:b.v/main.0");
    node.look();
    node.later(WAIT);
    node.execs.extend([(1, 1), (2, 2)]);
    assert_eq!(node.together(), Some([1, 0]));
    node.has_names = true;
    node.look();
    assert_eq!(node.together(), Some([3, 0]));
}

#[test]
fn what_a_walk_missed_was_not_removed() {
    let mut node = Node::new();
    node.make(1, "web.u/main.0");
    node.look();
    node.execs.insert(1, 5);
    let missed = node.tree.remove(&1).unwrap();
    node.later(RETENTION / 2);
    assert_eq!(node.model.n_members(), (0, 1));
    node.tree.insert(1, missed);
    node.later(RETENTION * 2);
    assert_eq!(node.model.n_members(), (1, 0));
    assert_eq!(node.shown(), one("web/main", 5));
}

#[test]
fn those_that_nobody_counts_are_not_kept() {
    let mut node = Node::new();
    node.make(1, "web.u/main.0");
    node.make(2, "web.u/main.0/a");
    node.execs.remove(&2);
    node.look();
    node.tree.remove(&2);
    node.later(WAIT);
    assert_eq!(node.model.n_members(), (1, 1));
    node.later(WAIT);
    assert_eq!(node.model.n_members(), (1, 0));
    // Nor when one was made and gone; until the next look the kernel may still tell of it.
    node.run(3, "web.u/main.0/b", 0);
    node.execs.remove(&3);
    node.look();
    assert_eq!(node.model.n_members(), (1, 1));
    node.later(WAIT);
    assert_eq!(node.model.n_members(), (1, 0));
}

#[test]
fn who_went_first_makes_room_first() {
    let mut node = Node::new();
    for (id, path) in [(1, "a.u/main.0"), (2, "a.u/main.0/x"), (3, "b.v/main.0"), (4, "a.u/main.0/y")] {
        node.make(id, path);
    }
    node.look();
    assert!(node.model.spare(node.now, Some(Duration::ZERO)).is_empty());
    for id in [4, 3, 2] {
        node.tree.remove(&id);
        node.later(WAIT);
    }
    assert_eq!(node.model.spare(node.now, None), [4, 2]);
    assert_eq!(node.model.spare(node.now, Some(WAIT)), [4, 2, 3]);
    assert_eq!(node.model.spare(node.now, Some(WAIT * 2)), [4, 2]);
    assert_eq!([1, 2, 3, 4].map(|id| node.model.has_others(id)), [true, true, false, true]);
}

#[test]
fn processes_below_a_scope_are_the_container_s() {
    let mut node = Node::new();
    node.make(1, "web.u/main.scope");
    node.make(2, "web.u/main.scope/container");
    node.make(3, "web.u/main.scope/container/job");
    node.make(4, "web.u/main.scope/other");
    node.look();
    let place = |id| node.model.names_of(id).unwrap().1;
    assert_eq!([1, 2, 3, 4].map(place), [Place::Container, Place::Container, Place::Below, Place::Below]);
}
