//! What the exporter knows, as JSON for people who look for a fault: the maps of the kernel side, and the tables made of them. Field
//! names stay as they are; what there are many of is cut, and the number that is left out is told.

use std::collections::BTreeMap;

use podproof_ebpf::counters::{Counter, Counts, FlagSet, MapFill, Refusals, ZombieParent, ZombieView};
use serde::Serialize;

use crate::model::{Member, Names, Place, Series};
use crate::observe::{View, boot};

/// Entries of each list. A cgroup has at most a hundred counters, so a page has a few megabytes at most.
const MAX_ENTRIES: usize = 1000;

/// As many entries as are shown.
#[derive(Debug, Serialize)]
struct List<T> {
    left_out: usize,
    entries: Vec<T>,
}

impl<T> List<T> {
    fn of(mut all: impl Iterator<Item = T>) -> Self {
        let entries = all.by_ref().take(MAX_ENTRIES).collect();
        Self { left_out: all.count(), entries }
    }
}

/// `/debug/maps`.
#[derive(Debug, Serialize)]
pub(super) struct Maps<'a> {
    /// `CLOCK_BOOTTIME`, as in the zombies.
    at_ns: u128,
    /// Counters that this kernel cannot give.
    unavailable: Vec<&'static str>,
    /// Of the whole node.
    node: BTreeMap<&'static str, u64>,
    /// Of no cgroup that is counted.
    rest: BTreeMap<&'static str, u64>,
    cgroups: List<Cgroup>,
    zombies: List<Zombie>,
    flag_sets: List<Flags<'a>>,
    fill: Vec<Fill>,
    refused: Vec<Refused>,
}

/// Counters that are not 0.
#[derive(Debug, Serialize)]
struct Cgroup {
    cgroup_id: u64,
    counters: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
struct Zombie {
    tgid: u32,
    since_ns: u64,
    cgroup_id: u64,
    parent_tgid: u32,
    parent: &'static str,
}

#[derive(Debug, Serialize)]
struct Flags<'a> {
    operation: &'static str,
    types: &'a str,
    calls: u64,
}

#[derive(Debug, Serialize)]
struct Fill {
    map: &'static str,
    entries: u64,
    capacity: u64,
}

#[derive(Debug, Serialize)]
struct Refused {
    map: &'static str,
    errno: &'static str,
    entries: u64,
}

/// `/debug/tables`.
#[derive(Debug, Serialize)]
pub(super) struct Tables<'a> {
    /// `CLOCK_BOOTTIME`, as in the cgroups.
    at_ns: u128,
    series: List<Shown<'a>>,
    cgroups: List<Known<'a>>,
    /// Those that are older than the probes, or were missed by them.
    zombies_of_proc: List<Zombie>,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    names: Labels<'a>,
    container_type: &'static str,
    container_id: &'a str,
    pod_uid: &'a str,
    runtime: &'a str,
    /// Containers of these names, one after the other.
    runs: u64,
    cgroup_ids: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Labels<'a> {
    namespace: &'a str,
    pod: &'a str,
    container: &'a str,
}

/// A cgroup that is there, or was.
#[derive(Debug, Serialize)]
struct Known<'a> {
    cgroup_id: u64,
    state: State,
    /// `None` when it was gone before anybody saw it.
    path: Option<String>,
    /// The series that it counts for.
    series: Option<Labels<'a>>,
    place: &'static str,
    is_top: bool,
    seen_at_ns: u128,
    removed_at_ns: Option<u128>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It waits for its names.
    Pending,
    /// A newer pod has its names.
    Displaced,
    /// It is shown by its ids.
    Provisional,
    /// It is shown by its names.
    Named,
    /// It is gone, and its counters are kept for a while.
    Tombstone,
}

/// `None` when the counters could not be read.
pub(super) fn maps<'a>(view: &View<'a>) -> Option<Maps<'a>> {
    let snapshot = view.snapshot?;
    let cgroup = |(id, counts): (&u64, &Counts)| Cgroup { cgroup_id: *id, counters: counters(counts) };
    let is_unavailable = |counter: &&Counter| snapshot.rest.get(**counter).is_none();
    Some(Maps {
        at_ns: boot().as_nanos(),
        unavailable: Counter::ALL.iter().filter(is_unavailable).map(|counter| counter.name()).collect(),
        node: counters(&snapshot.node),
        rest: counters(&snapshot.rest),
        cgroups: List::of(snapshot.cgroups.iter().map(cgroup)),
        zombies: List::of(view.zombies_of_map.iter().map(zombie)),
        flag_sets: List::of(view.flag_sets.iter().map(flags)),
        fill: view.fill.iter().map(fill).collect(),
        refused: view.refusals.iter().map(refused).collect(),
    })
}

pub(super) fn tables<'a>(view: &View<'a>) -> Tables<'a> {
    let model = view.model;
    Tables {
        at_ns: boot().as_nanos(),
        series: List::of(model.series().map(|(names, series)| shown(names, series))),
        cgroups: List::of(model.members().map(|(id, member)| known(id, member))),
        zombies_of_proc: List::of(view.zombies_of_proc.iter().map(zombie)),
    }
}

fn counters(counts: &Counts) -> BTreeMap<&'static str, u64> {
    counts.iter().filter(|(_, value)| *value > 0).map(|(counter, value)| (counter.name(), value)).collect()
}

fn zombie(zombie: &ZombieView) -> Zombie {
    let parent = match zombie.parent {
        ZombieParent::Init => "init",
        ZombieParent::OtherInit => "other_init",
        ZombieParent::Other => "other",
    };
    let ZombieView { tgid, since_ns, cgroup_id, parent_tgid, .. } = *zombie;
    Zombie { tgid, since_ns, cgroup_id, parent_tgid, parent }
}

fn flags(set: &FlagSet) -> Flags<'_> {
    Flags { operation: set.operation, types: &set.types, calls: set.count }
}

fn fill(fill: &MapFill) -> Fill {
    Fill { map: fill.map, entries: fill.entries, capacity: fill.capacity }
}

fn refused(refused: &Refusals) -> Refused {
    Refused { map: refused.map, errno: refused.errno, entries: refused.count }
}

fn shown<'a>(names: &'a Names, series: &'a Series) -> Shown<'a> {
    let owner = &series.owner;
    Shown {
        names: labels(names),
        container_type: owner.role.label(),
        container_id: &owner.container_id,
        pod_uid: &owner.pod_uid,
        runtime: &owner.runtime,
        runs: series.n_runs,
        cgroup_ids: series.cgroup_ids().take(MAX_ENTRIES).collect(),
    }
}

fn known(cgroup_id: u64, member: &Member) -> Known<'_> {
    Known {
        cgroup_id,
        state: state(member),
        path: member.path.as_ref().map(|path| path.to_string_lossy().into_owned()),
        series: member.names.as_ref().map(labels),
        place: match member.place {
            Place::Container => "container",
            Place::Sandbox => "sandbox",
            Place::Below => "below",
        },
        is_top: member.is_top,
        seen_at_ns: member.seen_at.as_nanos(),
        removed_at_ns: member.removed_at.map(|at| at.as_nanos()),
    }
}

fn state(member: &Member) -> State {
    if member.removed_at.is_some() {
        State::Tombstone
    } else if member.is_displaced {
        State::Displaced
    } else if member.names.is_none() {
        State::Pending
    } else if member.is_provisional {
        State::Provisional
    } else {
        State::Named
    }
}

fn labels(names: &Names) -> Labels<'_> {
    let [namespace, pod, container] = names.labels();
    Labels { namespace, pod, container }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let list = List::of(0..MAX_ENTRIES + 7);
        assert_eq!((list.left_out, list.entries.len(), list.entries.last()), (7, MAX_ENTRIES, Some(&999)));
        assert_eq!(
            serde_json::to_value(List::of([1, 2].iter())).unwrap(),
            json!({"left_out": 0, "entries": [1, 2]})
        );
    }

    #[test]
    fn counters_of_zero_are_left_out() {
        let counts: Counts = [(Counter::Execs, 3), (Counter::ForksProcess, 0)].into_iter().collect();
        assert_eq!(counters(&counts), BTreeMap::from([("execs", 3)]));
    }

    #[test]
    fn a_cgroup_goes_from_pending_to_tombstone() {
        let mut member = Member::new(Duration::from_nanos(5));
        assert_eq!(state(&member), State::Pending);
        (member.path, member.names) = (Some("a/b\"c".into()), Some(Names::new("shop", "web", "main")));
        member.is_provisional = true;
        assert_eq!(state(&member), State::Provisional);
        member.is_provisional = false;
        assert_eq!(state(&member), State::Named);
        member.removed_at = Some(Duration::from_nanos(9));
        let series = json!({"namespace": "shop", "pod": "web", "container": "main"});
        let wanted = json!({
            "cgroup_id": 7, "state": "tombstone", "path": "a/b\"c", "series": series, "place": "below",
            "is_top": false, "seen_at_ns": 5, "removed_at_ns": 9,
        });
        assert_eq!(serde_json::to_value(known(7, &member)).unwrap(), wanted);
    }

    #[test]
    fn zombies_have_the_fields_of_the_map() {
        let parent = ZombieParent::OtherInit;
        let found = zombie(&ZombieView { tgid: 1, since_ns: 2, cgroup_id: 3, parent_tgid: 4, parent });
        let wanted =
            json!({"tgid": 1, "since_ns": 2, "cgroup_id": 3, "parent_tgid": 4, "parent": "other_init"});
        assert_eq!(serde_json::to_value(found).unwrap(), wanted);
    }
}
