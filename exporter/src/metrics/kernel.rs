//! Which kernel counters make which sample.

use std::sync::LazyLock;

use podproof_ebpf::counters::Counter;
use podproof_ebpf::counters::{Counter as C, FlagSet};

use super::Choice;
use super::catalogue as all;
use super::family::{ContainerSheet, Distribution, Family, Sheet, as_f64};
use super::namespaces::NamespaceType;
use crate::model::Sums;

/// A sample: the sum of these counters, under these values of the family's own labels.
struct Line {
    family: &'static Family,
    labels: &'static [&'static str],
    counters: &'static [Counter],
}

/// The labels of lines as the text has them: a thousand containers have each of them a thousand times.
struct Texts {
    lines: Vec<String>,
    rare: Vec<String>,
    /// Of each type, and of the others.
    by_type: Vec<([String; NamespaceType::ALL.len()], String)>,
}

static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
    let of = |lines: &[Line]| lines.iter().map(|line| line.family.container_labels(line.labels)).collect();
    let of_type = |(family, label, _): &(&'static Family, &str, _)| {
        let text = |kind| family.container_labels(&[kind, label]);
        (NamespaceType::ALL.map(|kind| text(kind.label())), text(NamespaceType::OTHER))
    };
    Texts { lines: of(LINES), rare: of(RARE), by_type: BY_TYPE.iter().map(of_type).collect() }
});

const fn line(
    family: &'static Family,
    labels: &'static [&'static str],
    counters: &'static [Counter],
) -> Line {
    Line { family, labels, counters }
}

/// Samples that every container has from its first scrape on, at 0.
static LINES: &[Line] = &[
    line(&all::FORKS, &["process"], &[C::ForksProcess]),
    line(&all::FORKS, &["thread"], &[C::ForksThread]),
    line(&all::FORK_FAILURES, &["EAGAIN"], &[C::ForkFailuresEagain]),
    line(&all::FORK_FAILURES, &["ENOMEM"], &[C::ForkFailuresEnomem]),
    line(&all::FORK_FAILURES, &["EPERM"], &[C::ForkFailuresEperm]),
    line(&all::FORK_FAILURES, &["other"], &[C::ForkFailuresOther]),
    line(&all::EXECS, &[], &[C::Execs]),
    line(&all::EXITS, &["success"], &[C::ExitsSuccess]),
    line(&all::EXITS, &["error"], &[C::ExitsError]),
    line(&all::EXITS, &["signal"], &[C::ExitsSignal]),
    line(&all::EXITS, &["oom"], &[C::ExitsOom]),
    line(&all::REAPS, &["parent"], &[C::ReapsParent]),
    line(&all::REAPS, &["init"], &[C::ReapsInit]),
    line(&all::REAPS, &["pause"], &[C::ReapsOtherInit]),
    line(&all::REAPS, &["subreaper"], &[C::ReapsSubreaper]),
    line(&all::REAPS, &["shim"], &[C::ReapsOtherSubreaper]),
    line(&all::REAPS, &["tracer"], &[C::ReapsTracer]),
    line(&all::REAPS, &["auto"], &[C::ReapsAuto]),
    line(&all::REAPS, &["other"], &[C::ReapsHostInit]),
    line(&all::ORPHANS_REPARENTED, &["init"], &[C::OrphansInit]),
    line(&all::ORPHANS_REPARENTED, &["pause"], &[C::OrphansOtherInit]),
    line(&all::ORPHANS_REPARENTED, &["subreaper"], &[C::OrphansSubreaper]),
    line(&all::ORPHANS_REPARENTED, &["host_init"], &[C::OrphansHostInit]),
    line(&all::ORPHANS_REPARENTED, &["other"], &[C::OrphansOther]),
    line(&all::WAIT_CALLS, &["reaped"], &[C::WaitsReaped]),
    line(&all::WAIT_CALLS, &["none_ready"], &[C::WaitsNoneReady]),
    line(&all::WAIT_CALLS, &["no_children"], &[C::WaitsNoChildren]),
    line(&all::WAIT_CALLS, &["interrupted"], &[C::WaitsInterrupted]),
    line(&all::WAIT_CALLS, &["error"], &[C::WaitsError]),
    line(&all::INIT_EXITS, &["success"], &[C::InitExitsSuccess]),
    line(&all::INIT_EXITS, &["error"], &[C::InitExitsError]),
    line(&all::INIT_EXITS, &["signal"], &[C::InitExitsSignal]),
    line(&all::INIT_EXITS, &["oom"], &[C::InitExitsOom]),
    line(&all::NAMESPACE_KILLED_PROCESSES, &[], &[C::NsKilled]),
    line(&all::OOM_KILLS, &["memcg"], &[C::OomKillsMemcg]),
    line(&all::OOM_KILLS, &["global"], &[C::OomKillsGlobal]),
    line(&all::OOM_KILLS, &["cpuset"], &[C::OomKillsCpuset]),
    line(&all::OOM_KILLS, &["mempolicy"], &[C::OomKillsMempolicy]),
    line(&all::CGROUP_MIGRATIONS, &["in"], &[C::MigrationsIn]),
    line(&all::CGROUP_MIGRATIONS, &["out"], &[C::MigrationsOut]),
];

/// The same by type of namespace, in the order of [`NamespaceType::ALL`]; the label after it.
static BY_TYPE: &[(&Family, &str, [Counter; NamespaceType::ALL.len()])] = &[
    (
        &all::NAMESPACES_CREATED,
        "clone",
        [
            C::NsClonedCgroup,
            C::NsClonedIpc,
            C::NsClonedMnt,
            C::NsClonedNet,
            C::NsClonedPid,
            C::NsClonedTime,
            C::NsClonedUser,
            C::NsClonedUts,
        ],
    ),
    (
        &all::NAMESPACES_CREATED,
        "unshare",
        [
            C::NsUnsharedCgroup,
            C::NsUnsharedIpc,
            C::NsUnsharedMnt,
            C::NsUnsharedNet,
            C::NsUnsharedPid,
            C::NsUnsharedTime,
            C::NsUnsharedUser,
            C::NsUnsharedUts,
        ],
    ),
    (
        &all::NAMESPACES_JOINED,
        "inside",
        [
            C::NsJoinedInsideCgroup,
            C::NsJoinedInsideIpc,
            C::NsJoinedInsideMnt,
            C::NsJoinedInsideNet,
            C::NsJoinedInsidePid,
            C::NsJoinedInsideTime,
            C::NsJoinedInsideUser,
            C::NsJoinedInsideUts,
        ],
    ),
    (
        &all::NAMESPACES_JOINED,
        "outside",
        [
            C::NsJoinedOutsideCgroup,
            C::NsJoinedOutsideIpc,
            C::NsJoinedOutsideMnt,
            C::NsJoinedOutsideNet,
            C::NsJoinedOutsidePid,
            C::NsJoinedOutsideTime,
            C::NsJoinedOutsideUser,
            C::NsJoinedOutsideUts,
        ],
    ),
];

/// Samples that begin with their first event: no alert looks at it.
static RARE: &[Line] = &[
    line(&all::NAMESPACE_FAILURES, &["clone", "EPERM"], &[C::NsCloneEperm]),
    line(&all::NAMESPACE_FAILURES, &["clone", "EINVAL"], &[C::NsCloneEinval]),
    line(&all::NAMESPACE_FAILURES, &["clone", "ENOSPC"], &[C::NsCloneEnospc]),
    line(&all::NAMESPACE_FAILURES, &["clone", "other"], &[C::NsCloneOther]),
    line(&all::NAMESPACE_FAILURES, &["unshare", "EPERM"], &[C::NsUnshareEperm]),
    line(&all::NAMESPACE_FAILURES, &["unshare", "EINVAL"], &[C::NsUnshareEinval]),
    line(&all::NAMESPACE_FAILURES, &["unshare", "ENOSPC"], &[C::NsUnshareEnospc]),
    line(&all::NAMESPACE_FAILURES, &["unshare", "other"], &[C::NsUnshareOther]),
    line(&all::NAMESPACE_FAILURES, &["setns", "EPERM"], &[C::NsSetnsEperm]),
    line(&all::NAMESPACE_FAILURES, &["setns", "EINVAL"], &[C::NsSetnsEinval]),
    line(&all::NAMESPACE_FAILURES, &["setns", "ENOSPC"], &[C::NsSetnsEnospc]),
    line(&all::NAMESPACE_FAILURES, &["setns", "other"], &[C::NsSetnsOther]),
];

/// Of the node, whatever became of the cgroups.
static NODE: &[Line] = &[
    line(&all::NODE_FORKS, &["process"], &[C::ForksProcess]),
    line(&all::NODE_FORKS, &["thread"], &[C::ForksThread]),
    line(&all::NODE_EXECS, &[], &[C::Execs]),
    line(&all::NODE_EXITS, &[], EXITS),
    line(&all::NODE_REAPS, &[], REAPS),
    line(&all::NODE_OOM_KILLS, &[], OOM_KILLS),
    line(&all::NODE_INIT_EXITS, &[], INIT_EXITS),
    line(&all::CGROUPS_CREATED, &[], &[C::CgroupsCreated]),
    line(&all::CGROUPS_REMOVED, &[], &[C::CgroupsRemoved]),
];

/// What is counted of cgroups without a name.
static UNATTRIBUTED: &[(&str, &[Counter])] = &[
    ("fork", &[C::ForksProcess, C::ForksThread]),
    ("exec", &[C::Execs]),
    ("exit", EXITS),
    ("reap", REAPS),
    ("oom_kill", OOM_KILLS),
    ("init_exit", INIT_EXITS),
];

const EXITS: &[Counter] = &[C::ExitsSuccess, C::ExitsError, C::ExitsSignal, C::ExitsOom];
const INIT_EXITS: &[Counter] = &[C::InitExitsSuccess, C::InitExitsError, C::InitExitsSignal, C::InitExitsOom];
const REAPS: &[Counter] = &[
    C::ReapsParent,
    C::ReapsInit,
    C::ReapsOtherInit,
    C::ReapsSubreaper,
    C::ReapsOtherSubreaper,
    C::ReapsHostInit,
    C::ReapsTracer,
    C::ReapsAuto,
];
pub(crate) const OOM_KILLS: &[Counter] =
    &[C::OomKillsGlobal, C::OomKillsCpuset, C::OomKillsMempolicy, C::OomKillsMemcg];

/// A histogram: counters of its buckets, the last one above all bounds, and that of its sum in nanoseconds.
struct Times {
    family: &'static Family,
    /// Seconds; those of `podproof_abi`.
    bounds: &'static [f64],
    buckets: &'static [Counter],
    sum_ns: Counter,
}

static HISTOGRAMS: &[Times] = &[
    Times {
        family: &all::ZOMBIE_DURATION_SECONDS,
        bounds: &[0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0],
        buckets: &[
            C::ZombieLe0,
            C::ZombieLe1,
            C::ZombieLe2,
            C::ZombieLe3,
            C::ZombieLe4,
            C::ZombieLe5,
            C::ZombieLe6,
            C::ZombieLe7,
            C::ZombieMore,
        ],
        sum_ns: C::ZombieSumNs,
    },
    Times {
        family: &all::CPU_THROTTLE_DURATION_SECONDS,
        bounds: &[0.001, 0.01, 0.1, 1.0, 10.0],
        buckets: &[
            C::ThrottleLe0,
            C::ThrottleLe1,
            C::ThrottleLe2,
            C::ThrottleLe3,
            C::ThrottleLe4,
            C::ThrottleMore,
        ],
        sum_ns: C::ThrottleSumNs,
    },
];

/// As many as a container has once each of them has occurred.
pub(super) fn max_samples(choice: &Choice) -> usize {
    let has = |family: &Family| choice.collectors.has(family.collector);
    let lines = LINES.iter().chain(RARE).filter(|line| has(line.family)).count();
    let is_own = |kind: &&NamespaceType| choice.namespace_types.contains(kind);
    let n_own = NamespaceType::ALL.iter().filter(is_own).count();
    let n_types = n_own + usize::from(n_own < NamespaceType::ALL.len());
    let by_type = BY_TYPE.iter().filter(|(family, ..)| has(family)).count() * n_types;
    // Each has its sum and its count beside the buckets.
    let times = HISTOGRAMS.iter().filter(|times| has(times.family)).map(|times| times.buckets.len() + 2);
    lines + by_type + times.sum::<usize>()
}

/// All samples of a container that the kernel counts; `types` of namespaces by themselves.
pub(super) fn of_container(sheet: &mut ContainerSheet<'_>, sums: &Sums, types: &[NamespaceType]) {
    for (line, labels) in LINES.iter().zip(&TEXTS.lines) {
        if let Some(value) = sums.of(line.counters) {
            sheet.count_under(line.family, labels, value);
        }
    }
    of_namespaces(sheet, sums, types);
    for (line, labels) in RARE.iter().zip(&TEXTS.rare) {
        if let Some(value) = sums.of(line.counters).filter(|value| *value > 0) {
            sheet.count_under(line.family, labels, value);
        }
    }
    for Times { family, bounds, buckets, sum_ns } in HISTOGRAMS {
        let buckets: Option<Vec<u64>> = buckets.iter().map(|counter| sums.of(&[*counter])).collect();
        if let (Some(counts), Some(ns)) = (buckets, sums.of(&[*sum_ns])) {
            sheet.histogram(family, &Distribution { bounds, counts: &counts, sum: as_f64(ns) / 1e9 });
        }
    }
}

/// The types that are shown by themselves, and the sum of the others.
fn of_namespaces(sheet: &mut ContainerSheet<'_>, sums: &Sums, types: &[NamespaceType]) {
    for ((family, _, counters), (labels, of_others)) in BY_TYPE.iter().zip(&TEXTS.by_type) {
        let mut others = Vec::new();
        for ((kind, counter), labels) in NamespaceType::ALL.iter().zip(counters).zip(labels) {
            if !types.contains(kind) {
                others.push(*counter);
            } else if let Some(value) = sums.of(&[*counter]) {
                sheet.count_under(family, labels, value);
            }
        }
        if let Some(value) = sums.of(&others).filter(|_| !others.is_empty()) {
            sheet.count_under(family, of_others, value);
        }
    }
}

pub(super) fn of_node(sheet: &mut Sheet, sums: &Sums) {
    for line in NODE {
        if let Some(value) = sums.of(line.counters) {
            sheet.count(line.family, line.labels, value);
        }
    }
}

/// Events of cgroups that belong to no series.
pub(super) fn of_nobody(sheet: &mut Sheet, reason: &str, sums: &Sums) {
    for (event, counters) in UNATTRIBUTED {
        if let Some(value) = sums.of(counters) {
            sheet.count(&all::UNATTRIBUTED_EVENTS, &[event, reason], value);
        }
    }
}

/// Calls by the exact set of namespaces.
pub(super) fn of_flag_sets(sheet: &mut Sheet, sets: &[FlagSet]) {
    for set in sets {
        sheet.count(&all::NAMESPACE_FLAG_SETS, &[set.operation, &set.types], set.count);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use podproof_ebpf::counters::Counts;

    use super::*;
    use crate::metrics::{Collector, Collectors};
    use crate::model::Names;

    #[test]
    fn no_counter_is_forgotten_or_shown_twice() {
        let mut shown: Vec<Counter> =
            LINES.iter().chain(RARE).flat_map(|line| line.counters).copied().collect();
        shown.extend(BY_TYPE.iter().flat_map(|(_, _, counters)| counters));
        for Times { buckets, sum_ns, .. } in HISTOGRAMS {
            shown.extend(*buckets);
            shown.push(*sum_ns);
        }
        shown.extend([C::CgroupsCreated, C::CgroupsRemoved]);
        assert_eq!(shown.iter().collect::<BTreeSet<_>>().len(), shown.len());
        assert_eq!(shown.len(), Counter::ALL.len());
    }

    #[test]
    fn every_line_has_the_labels_of_its_family() {
        for line in LINES.iter().chain(RARE) {
            assert_eq!(line.family.labels.len(), 3 + line.labels.len(), "{}", line.family.name);
        }
        for Times { family, bounds, buckets, .. } in HISTOGRAMS {
            assert_eq!((family.labels.len(), buckets.len()), (3, bounds.len() + 1), "{}", family.name);
        }
        for (family, ..) in BY_TYPE {
            assert_eq!(family.labels.len(), 3 + 2, "{}", family.name);
        }
        for line in NODE {
            assert_eq!(line.family.labels.len(), line.labels.len(), "{}", line.family.name);
        }
    }

    #[test]
    fn a_container_has_as_many_samples_as_there_is_room_for() {
        let counts: Counts = Counter::ALL.iter().map(|counter| (*counter, 1)).collect();
        let all = Choice::everything();
        let default = Collector::OPTIONAL.iter().filter(|collector| collector.is_default());
        let default = default.fold(Collectors::NONE, |all, collector| all.with(*collector));
        let few = vec![NamespaceType::User, NamespaceType::Mnt, NamespaceType::User];
        for choice in [
            all.clone(),
            Choice { collectors: default, ..all.clone() },
            Choice { namespace_types: few, ..all.clone() },
            Choice { collectors: Collectors::NONE.with(Collector::Zombies), ..all },
        ] {
            let mut sheet = Sheet::new(choice.collectors);
            let sums = Sums::from(&counts);
            of_container(&mut sheet.of(&Names::default()), &sums, &choice.namespace_types);
            assert_eq!(sheet.n_series(), max_samples(&choice), "{choice:?}");
        }
    }

    #[test]
    fn types_that_are_not_named_are_counted_together() {
        let counted = [(C::NsClonedUser, 1), (C::NsClonedMnt, 2), (C::NsClonedNet, 4), (C::NsClonedUts, 8)];
        let counts: Counts = BY_TYPE[0].2.map(|counter| (counter, 0)).into_iter().chain(counted).collect();
        let shown = |types: &[NamespaceType]| {
            let mut sheet = Sheet::new(Collectors::ALL);
            of_namespaces(&mut sheet.of(&Names::new("", "", "c")), &Sums::from(&counts), types);
            let text: String = sheet.into_parts().collect();
            let sample = |line: &str| {
                let kind = line.split("namespace_type=\"").nth(1)?.split('"').next()?;
                Some(format!("{kind} {}", line.rsplit(' ').next()?))
            };
            text.lines().filter_map(sample).collect::<Vec<_>>()
        };
        let all = ["cgroup 0", "ipc 0", "mnt 2", "net 4", "pid 0", "time 0", "user 1", "uts 8"];
        assert_eq!(shown(&NamespaceType::ALL), all);
        assert_eq!(shown(&[NamespaceType::User, NamespaceType::Mnt]), ["mnt 2", "user 1", "other 12"]);
        assert_eq!(shown(&NamespaceType::ALL[1..]).last().map(String::as_str), Some("other 0"));
    }
}
