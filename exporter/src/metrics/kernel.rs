//! Which kernel counters make which sample.

use podproof_ebpf::counters::Counter;
use podproof_ebpf::counters::{Counter as C, FlagSet};

use super::catalogue as all;
use super::family::{Distribution, Family, Sheet, as_f64};
use crate::model::{Names, Sums};

/// A sample: the sum of these counters, under these values of the family's own labels.
struct Line {
    family: &'static Family,
    labels: &'static [&'static str],
    counters: &'static [Counter],
}

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
    line(&all::NAMESPACES_CREATED, &["cgroup", "clone"], &[C::NsClonedCgroup]),
    line(&all::NAMESPACES_CREATED, &["ipc", "clone"], &[C::NsClonedIpc]),
    line(&all::NAMESPACES_CREATED, &["mnt", "clone"], &[C::NsClonedMnt]),
    line(&all::NAMESPACES_CREATED, &["net", "clone"], &[C::NsClonedNet]),
    line(&all::NAMESPACES_CREATED, &["pid", "clone"], &[C::NsClonedPid]),
    line(&all::NAMESPACES_CREATED, &["time", "clone"], &[C::NsClonedTime]),
    line(&all::NAMESPACES_CREATED, &["user", "clone"], &[C::NsClonedUser]),
    line(&all::NAMESPACES_CREATED, &["uts", "clone"], &[C::NsClonedUts]),
    line(&all::NAMESPACES_CREATED, &["cgroup", "unshare"], &[C::NsUnsharedCgroup]),
    line(&all::NAMESPACES_CREATED, &["ipc", "unshare"], &[C::NsUnsharedIpc]),
    line(&all::NAMESPACES_CREATED, &["mnt", "unshare"], &[C::NsUnsharedMnt]),
    line(&all::NAMESPACES_CREATED, &["net", "unshare"], &[C::NsUnsharedNet]),
    line(&all::NAMESPACES_CREATED, &["pid", "unshare"], &[C::NsUnsharedPid]),
    line(&all::NAMESPACES_CREATED, &["time", "unshare"], &[C::NsUnsharedTime]),
    line(&all::NAMESPACES_CREATED, &["user", "unshare"], &[C::NsUnsharedUser]),
    line(&all::NAMESPACES_CREATED, &["uts", "unshare"], &[C::NsUnsharedUts]),
    line(&all::NAMESPACES_JOINED, &["cgroup", "inside"], &[C::NsJoinedInsideCgroup]),
    line(&all::NAMESPACES_JOINED, &["ipc", "inside"], &[C::NsJoinedInsideIpc]),
    line(&all::NAMESPACES_JOINED, &["mnt", "inside"], &[C::NsJoinedInsideMnt]),
    line(&all::NAMESPACES_JOINED, &["net", "inside"], &[C::NsJoinedInsideNet]),
    line(&all::NAMESPACES_JOINED, &["pid", "inside"], &[C::NsJoinedInsidePid]),
    line(&all::NAMESPACES_JOINED, &["time", "inside"], &[C::NsJoinedInsideTime]),
    line(&all::NAMESPACES_JOINED, &["user", "inside"], &[C::NsJoinedInsideUser]),
    line(&all::NAMESPACES_JOINED, &["uts", "inside"], &[C::NsJoinedInsideUts]),
    line(&all::NAMESPACES_JOINED, &["cgroup", "outside"], &[C::NsJoinedOutsideCgroup]),
    line(&all::NAMESPACES_JOINED, &["ipc", "outside"], &[C::NsJoinedOutsideIpc]),
    line(&all::NAMESPACES_JOINED, &["mnt", "outside"], &[C::NsJoinedOutsideMnt]),
    line(&all::NAMESPACES_JOINED, &["net", "outside"], &[C::NsJoinedOutsideNet]),
    line(&all::NAMESPACES_JOINED, &["pid", "outside"], &[C::NsJoinedOutsidePid]),
    line(&all::NAMESPACES_JOINED, &["time", "outside"], &[C::NsJoinedOutsideTime]),
    line(&all::NAMESPACES_JOINED, &["user", "outside"], &[C::NsJoinedOutsideUser]),
    line(&all::NAMESPACES_JOINED, &["uts", "outside"], &[C::NsJoinedOutsideUts]),
    line(&all::OOM_KILLS, &["memcg"], &[C::OomKillsMemcg]),
    line(&all::OOM_KILLS, &["global"], &[C::OomKillsGlobal]),
    line(&all::OOM_KILLS, &["cpuset"], &[C::OomKillsCpuset]),
    line(&all::OOM_KILLS, &["mempolicy"], &[C::OomKillsMempolicy]),
    line(&all::CGROUP_MIGRATIONS, &["in"], &[C::MigrationsIn]),
    line(&all::CGROUP_MIGRATIONS, &["out"], &[C::MigrationsOut]),
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

const ZOMBIE_BUCKETS: [Counter; 9] = [
    C::ZombieLe0,
    C::ZombieLe1,
    C::ZombieLe2,
    C::ZombieLe3,
    C::ZombieLe4,
    C::ZombieLe5,
    C::ZombieLe6,
    C::ZombieLe7,
    C::ZombieMore,
];
/// Seconds; those of `podproof_abi::ZOMBIE_BOUNDS_NS`.
const ZOMBIE_BOUNDS: [f64; 8] = [0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0];

/// As many as a container has once each of them has occurred: buckets, sum and count of the histogram are one each.
pub(super) const MAX_SAMPLES: usize = LINES.len() + RARE.len() + ZOMBIE_BUCKETS.len() + 2;

/// All samples of a container that the kernel counts.
pub(super) fn of_container(sheet: &mut Sheet, names: &Names, sums: &Sums) {
    let common = names.labels();
    for line in LINES {
        if let Some(value) = sums.of(line.counters) {
            sheet.count(line.family, &[&common, line.labels].concat(), value);
        }
    }
    for line in RARE {
        if let Some(value) = sums.of(line.counters).filter(|value| *value > 0) {
            sheet.count(line.family, &[&common, line.labels].concat(), value);
        }
    }
    let buckets: Option<Vec<u64>> = ZOMBIE_BUCKETS.iter().map(|counter| sums.of(&[*counter])).collect();
    if let (Some(counts), Some(ns)) = (buckets, sums.of(&[C::ZombieSumNs])) {
        let shown = Distribution { bounds: &ZOMBIE_BOUNDS, counts: &counts, sum: as_f64(ns) / 1e9 };
        sheet.histogram(&all::ZOMBIE_DURATION_SECONDS, &common, &shown);
    }
}

pub(super) fn of_node(sheet: &mut Sheet, sums: &Sums) {
    for line in NODE {
        if let Some(value) = sums.of(line.counters) {
            sheet.count(line.family, line.labels, value);
        }
    }
}

/// Events of cgroups that were gone before anybody could tell whose they were.
pub(super) fn of_nobody(sheet: &mut Sheet, sums: &Sums) {
    for (event, counters) in UNATTRIBUTED {
        if let Some(value) = sums.of(counters) {
            sheet.count(&all::UNATTRIBUTED_EVENTS, &[event, "no_cgroup"], value);
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

    use super::*;

    #[test]
    fn no_counter_is_forgotten_or_shown_twice() {
        let mut shown: Vec<Counter> =
            LINES.iter().chain(RARE).flat_map(|line| line.counters).copied().collect();
        shown.extend(ZOMBIE_BUCKETS);
        shown.extend([C::ZombieSumNs, C::CgroupsCreated, C::CgroupsRemoved]);
        assert_eq!(shown.iter().collect::<BTreeSet<_>>().len(), shown.len());
        assert_eq!(shown.len(), Counter::ALL.len());
    }

    #[test]
    fn every_line_has_the_labels_of_its_family() {
        for line in LINES.iter().chain(RARE) {
            assert_eq!(line.family.labels.len(), 3 + line.labels.len(), "{}", line.family.name);
        }
        for line in NODE {
            assert_eq!(line.family.labels.len(), line.labels.len(), "{}", line.family.name);
        }
    }
}
