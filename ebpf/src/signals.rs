//! What the tracer tells, and which programs it has each thing from: the sources of a signal in order of preference, with
//! what is lost where only a later one is there.
//!
//! A signal without a usable source is unavailable, with the reason: it is never an empty list or a zero.

use podproof_abi::Counter;
use serde::{Deserialize, Serialize};

use crate::probe::{ProbeStatus, by_name};
use crate::tracer::TraceOptions;

/// Something that can be known of the node.
#[derive(Debug, Clone, Copy)]
pub struct Signal {
    /// What it is called.
    pub name: &'static str,
    /// What it tells.
    pub gives: &'static str,
    /// Where it can come from, the best one first.
    pub sources: &'static [Source],
}

/// Programs that together show a signal.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// All of them are needed.
    pub programs: &'static [&'static str],
    /// What a better source would tell, and this one does not; empty for the best.
    pub lost: &'static str,
}

impl Source {
    /// The hooks with their mechanisms, as events name their source.
    #[must_use]
    pub fn hooks(&self) -> Vec<String> {
        self.programs.iter().filter_map(|name| by_name(name)).map(crate::probe::Probe::source).collect()
    }

    /// The highest tier among its programs.
    #[must_use]
    pub fn tier(&self) -> u8 {
        self.programs.iter().filter_map(|name| by_name(name)).map(|probe| probe.tier).max().unwrap_or(0)
    }
}

/// Where a signal comes from on the running kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalStatus {
    /// What it is called.
    pub name: String,
    /// What it tells.
    pub gives: String,
    /// The hooks that show it, with their mechanisms; empty when it is unavailable.
    pub source: Vec<String>,
    /// What this source does not tell and a better one would; empty for the best.
    pub lost: String,
    /// Why it is unavailable; `None` while it is not.
    pub unavailable: Option<String>,
}

/// Where a counter comes from on the running kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterStatus {
    /// What it is called.
    pub name: String,
    /// The hook that feeds it, with its mechanism.
    pub source: String,
    /// Why it is unavailable; `None` while it is not.
    pub unavailable: Option<String>,
}

const fn signal(name: &'static str, gives: &'static str, sources: &'static [Source]) -> Signal {
    Signal { name, gives, sources }
}

const fn source(programs: &'static [&'static str], lost: &'static str) -> Source {
    Source { programs, lost }
}

/// All signals, in the order of a task's life.
pub const SIGNALS: &[Signal] = &[
    signal(
        "task created",
        "flags, numbers in every pid namespace, namespaces, cgroup, parent",
        &[source(&["task_newtask"], "")],
    ),
    signal("clone failed", "flags, errno", &[source(&["sys_exit"], "")]),
    signal(
        "program executed",
        "file, credentials, namespaces, cgroup, root mount",
        &[source(&["sched_process_exec"], "")],
    ),
    signal("exec failed", "file, errno", &[source(&["sys_exit"], "")]),
    signal(
        "end of a task",
        "wait status, last of its process, OOM, tracer, namespaces, parent",
        &[source(&["sched_process_exit"], "")],
    ),
    signal("zombie start", "when the parent was told, and who that is", &[source(&["signal_generate"], "")]),
    signal(
        "reap: time",
        "when a dead process was released",
        &[
            source(&["release_task"], ""),
            source(&["sys_exit"], "the exact moment (shows the wait's return), reaps without a wait"),
            source(&["sched_process_free"], "the exact moment (shows it 20 ms or more late)"),
        ],
    ),
    signal(
        "reap: reaper",
        "who reaped",
        &[source(&["release_task"], ""), source(&["sys_exit"], "reapers that do not wait (auto-reap)")],
    ),
    signal(
        "reap: role",
        "parent, tracer or the kernel itself",
        &[source(&["release_task"], ""), source(&["sys_exit"], "tracers and the kernel itself")],
    ),
    signal(
        "reap: age",
        "how long the zombie was there",
        &[
            source(&["release_task", "signal_generate"], ""),
            source(
                &["sys_exit", "signal_generate"],
                "the exact end (shows the wait's return), zombies that nobody waits for",
            ),
        ],
    ),
    signal(
        "auto-reap",
        "a dead process that nobody waited for was released",
        &[
            source(&["release_task", "do_notify_parent"], ""),
            source(&["release_task"], "processes whose leader ended before their last thread"),
            source(
                &["sched_process_free"],
                "the exact moment (shows it 20 ms or more late), proof that nobody waited",
            ),
        ],
    ),
    signal(
        "reparenting",
        "parent before and after, compared at birth, at each exec and at the end",
        &[source(&["task_newtask", "sched_process_exec", "sched_process_exit"], "")],
    ),
    signal("wait calls", "options, result, child, status", &[source(&["sys_exit"], "")]),
    signal("signals sent", "signal, code, target, result", &[source(&["signal_generate"], "")]),
    signal("signals taken", "signal, code, action", &[source(&["signal_deliver"], "")]),
    signal("namespaces by clone", "types, and the new task's namespaces", &[source(&["task_newtask"], "")]),
    signal(
        "unshare",
        "flags, result, namespaces before and after",
        &[source(&["sys_enter", "sys_exit"], ""), source(&["sys_exit"], "the namespaces before")],
    ),
    signal(
        "setns",
        "descriptor, type, result, namespaces before and after",
        &[source(&["sys_enter", "sys_exit"], ""), source(&["sys_exit"], "the namespaces before")],
    ),
    signal(
        "OOM victim",
        "who was chosen, who ran out of memory; its cgroup where the tracepoint passes the task (not on Linux 6.1)",
        &[
            source(&["mark_victim"], ""),
            source(&["sched_process_exit"], "the moment of the choice, who ran out of memory"),
        ],
    ),
    signal(
        "OOM limit",
        "whose limit was hit: the node, a cpuset, a policy, a cgroup",
        &[source(&["oom_kill_process", "oom_kill_process_return", "mark_victim"], "")],
    ),
    signal("cgroup made", "id, hierarchy, path", &[source(&["cgroup_mkdir"], "")]),
    signal("cgroup removed", "id, hierarchy, path", &[source(&["cgroup_rmdir"], "")]),
    signal("moved to a cgroup", "task, cgroup, whole process", &[source(&["cgroup_attach_task"], "")]),
    signal(
        "cgroup told to freeze or thaw",
        "cgroup, which",
        &[source(&["cgroup_freeze", "cgroup_unfreeze"], "")],
    ),
    signal("cgroup frozen", "cgroup, whether all stand still", &[source(&["cgroup_notify_frozen"], "")]),
    signal("cgroup populated", "cgroup, whether it has tasks", &[source(&["cgroup_notify_populated"], "")]),
    signal("cgroup file written", "cgroup, file, value, result", &[source(&["sys_exit"], "")]),
    signal(
        "mounts",
        "mount, umount2, fsopen, open_tree, move_mount, mount_setattr: arguments, result",
        &[source(&["sys_exit"], "")],
    ),
    signal("pivot_root", "arguments, result, mount namespace", &[source(&["sys_exit"], "")]),
    signal("chroot", "path, result, mount namespace", &[source(&["sys_exit"], "")]),
    signal("host and domain name", "name, result, UTS namespace", &[source(&["sys_exit"], "")]),
    signal("shared memory", "shmget, shmat: arguments, result, IPC namespace", &[source(&["sys_exit"], "")]),
];

/// Whether a program can be relied on; the error says why not.
fn usable(probes: &[ProbeStatus], name: &str) -> Result<(), String> {
    match probes.iter().find(|probe| probe.name == name) {
        None => Err(format!("{name} is not asked for")),
        Some(probe) if probe.attached => Ok(()),
        Some(probe) => {
            Err(format!("{name} is not attached: {}", probe.reason.as_deref().unwrap_or("not tried")))
        }
    }
}

/// Takes for each signal the first source of which all programs are attached.
pub(crate) fn resolve(probes: &[ProbeStatus], events: bool) -> Vec<SignalStatus> {
    SIGNALS.iter().map(|signal| resolve_one(signal, probes, events)).collect()
}

fn resolve_one(signal: &Signal, probes: &[ProbeStatus], events: bool) -> SignalStatus {
    let mut status = SignalStatus {
        name: signal.name.into(),
        gives: signal.gives.into(),
        source: vec![],
        lost: String::new(),
        unavailable: None,
    };
    if !events {
        status.unavailable = Some("events are not asked for".into());
        return status;
    }
    let mut reasons: Vec<String> = vec![];
    for source in signal.sources {
        match source.programs.iter().try_for_each(|name| usable(probes, name)) {
            Ok(()) => {
                status.source = source.hooks();
                status.lost = source.lost.into();
                return status;
            }
            Err(reason) if reasons.contains(&reason) => {}
            Err(reason) => reasons.push(reason),
        }
    }
    status.unavailable = Some(reasons.join("; "));
    status
}

/// What a counter needs besides its programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// `signal_struct.oom_mm`
    pub(crate) oom_victims: bool,
    /// `signal_struct.is_child_subreaper`
    pub(crate) subreapers: bool,
    /// The machine's first mount namespace.
    pub(crate) host_mnt_ns: bool,
}

impl Known {
    /// Why a counter cannot be given.
    fn lack(self, counter: Counter) -> Option<&'static str> {
        match counter {
            Counter::ExitsOom | Counter::InitExitsOom if !self.oom_victims => {
                Some("signal_struct.oom_mm is not in this kernel")
            }
            Counter::OrphansSubreaper | Counter::ReapsSubreaper | Counter::ReapsOtherSubreaper
                if !self.subreapers =>
            {
                Some("signal_struct.is_child_subreaper is not in this kernel")
            }
            _ if counter.name().starts_with("ns_joined_") && !self.host_mnt_ns => {
                Some("the machine's first mount namespace is not known: /proc/1/ns/mnt cannot be read")
            }
            _ => None,
        }
    }
}

/// Whether a counter is among those that are asked for when counters are.
pub(crate) fn is_asked(counter: Counter, options: &TraceOptions) -> bool {
    let counting = TraceOptions { counters: true, ..*options };
    counter.programs().iter().filter_map(|name| by_name(name)).all(|probe| probe.serves(&counting))
}

/// The same for the counters.
pub(crate) fn resolve_counters(probes: &[ProbeStatus], counters: bool, known: Known) -> Vec<CounterStatus> {
    let one = |counter: &Counter| {
        let programs = counter.programs();
        let result = if counters {
            let usable = programs.iter().try_for_each(|name| usable(probes, name));
            usable.and_then(|()| known.lack(*counter).map_or(Ok(()), |lack| Err(lack.to_owned())))
        } else {
            Err("counters are not asked for".into())
        };
        CounterStatus {
            name: counter.name().into(),
            source: by_name(programs[0]).map(crate::probe::Probe::source).unwrap_or_default(),
            unavailable: result.err(),
        }
    };
    Counter::ALL.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::programs;

    const EVENTS: TraceOptions = options(true, false);
    const COUNTERS: TraceOptions = options(false, true);

    /// With what has to be asked for, too.
    const fn options(events: bool, counters: bool) -> TraceOptions {
        let (ring_bytes, max_cgroups, max_processes) = (4096, 1, 1);
        TraceOptions {
            events,
            counters,
            throttling: true,
            syscalls: true,
            ring_bytes,
            max_cgroups,
            max_processes,
        }
    }

    const ALL_KNOWN: Known = Known { oom_victims: true, subreapers: true, host_mnt_ns: true };

    fn attached(is_refused: impl Fn(&ProbeStatus) -> bool) -> Vec<ProbeStatus> {
        let mut all = programs();
        for probe in &mut all {
            probe.attached = !is_refused(probe);
            probe.reason = is_refused(probe).then(|| "load: refused (os error 1)".into());
        }
        all
    }

    fn find<'a>(all: &'a [SignalStatus], name: &str) -> &'a SignalStatus {
        all.iter().find(|signal| signal.name == name).unwrap()
    }

    #[test]
    fn every_named_program_exists_and_every_program_for_events_is_named() {
        let named: Vec<&str> = SIGNALS
            .iter()
            .flat_map(|signal| signal.sources)
            .flat_map(|source| source.programs)
            .copied()
            .collect();
        for name in &named {
            assert!(by_name(name).is_some_and(|probe| probe.serves(&EVENTS)), "{name}");
        }
        for probe in programs() {
            let is_for_events = by_name(&probe.name).unwrap().serves(&EVENTS);
            assert_eq!(named.contains(&probe.name.as_str()), is_for_events, "{}", probe.name);
        }
        for counter in Counter::ALL {
            for name in counter.programs() {
                assert!(by_name(name).is_some_and(|probe| probe.serves(&COUNTERS)), "{counter:?}: {name}");
            }
        }
    }

    #[test]
    fn a_lesser_source_says_what_it_lacks_and_the_best_lacks_nothing() {
        for signal in SIGNALS {
            let lost: Vec<bool> = signal.sources.iter().map(|source| source.lost.is_empty()).collect();
            assert!(lost[0] && lost[1..].iter().all(|is_empty| !is_empty), "{}", signal.name);
        }
    }

    #[test]
    fn without_fentry_reaps_come_from_system_calls_and_the_limit_of_an_oom_kill_from_nowhere() {
        let all = resolve(&attached(|probe| probe.tier == 3), true);
        assert_eq!(find(&all, "reap: time").source, ["tp_btf/sys_exit"]);
        assert!(find(&all, "reap: time").lost.contains("reaps without a wait"));
        assert_eq!(find(&all, "auto-reap").source, ["tp_btf/sched_process_free"]);
        let limit = find(&all, "OOM limit");
        assert_eq!((limit.source.len(), limit.lost.as_str()), (0, ""));
        let reason = limit.unavailable.as_deref().unwrap();
        assert_eq!(reason, "oom_kill_process is not attached: load: refused (os error 1)");
        let missing: Vec<&str> = all
            .iter()
            .filter(|signal| signal.unavailable.is_some())
            .map(|signal| signal.name.as_str())
            .collect();
        assert_eq!(missing, ["OOM limit"]);
    }

    #[test]
    fn with_everything_attached_every_signal_has_its_best_source() {
        let probes = attached(|_probe| false);
        for (status, signal) in resolve(&probes, true).iter().zip(SIGNALS) {
            assert_eq!((&status.unavailable, status.lost.as_str()), (&None, ""), "{}", signal.name);
            assert_eq!(status.source, signal.sources[0].hooks());
        }
        assert!(
            resolve_counters(&probes, true, ALL_KNOWN).iter().all(|counter| counter.unavailable.is_none())
        );
    }

    #[test]
    fn what_is_not_asked_for_is_unavailable_too() {
        let mut probes = attached(|_probe| false);
        probes.retain(|probe| probe.tier != 2);
        let all = resolve(&probes, true);
        assert_eq!(find(&all, "chroot").unavailable.as_deref(), Some("sys_exit is not asked for"));
        assert!(resolve(&probes, false).iter().all(|signal| signal.unavailable.is_some()));
        assert!(
            resolve_counters(&probes, false, ALL_KNOWN).iter().all(|counter| counter.unavailable.is_some())
        );
    }

    #[test]
    fn throttling_is_asked_for_by_itself() {
        let asked = |throttling| {
            let options = TraceOptions { throttling, ..COUNTERS };
            Counter::ALL.iter().filter(move |counter| is_asked(**counter, &options)).count()
        };
        assert_eq!((asked(true), asked(true) - asked(false)), (Counter::ALL.len(), 7));
        let probe = by_name("unthrottle_cfs_rq").unwrap();
        assert!(probe.status().on_request && !probe.serves(&TraceOptions { throttling: false, ..COUNTERS }));
    }

    #[test]
    fn a_counter_goes_with_its_programs() {
        let unavailable = |refused: &str| {
            let all = resolve_counters(&attached(|probe| probe.name == refused), true, ALL_KNOWN);
            all.into_iter().filter(|counter| counter.unavailable.is_some()).map(|counter| counter.name)
        };
        assert_eq!(unavailable("do_wait").filter(|name| name.starts_with("waits_")).count(), 5);
        assert_eq!(unavailable("do_wait").count(), 5);
        // Each of a pair that only works together.
        for (refused, prefix) in [
            ("setns", "ns_joined_"),
            ("oom_kill_process", "oom_kills_"),
            ("cgroup_attach_task", "migrations_out"),
            ("zap_pid_ns_processes_return", "ns_killed"),
            ("do_notify_parent", "reaps_auto"),
            ("signal_generate", "zombie_"),
        ] {
            assert!(unavailable(refused).any(|name| name.starts_with(prefix)), "{refused}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_unavailable_and_not_zero() {
        let nothing = Known { oom_victims: false, subreapers: false, host_mnt_ns: false };
        let all = resolve_counters(&attached(|_probe| false), true, nothing);
        let missing = all.iter().filter(|counter| counter.unavailable.is_some());
        let names: Vec<&str> = missing.map(|counter| counter.name.as_str()).collect();
        assert_eq!(names.len(), 5 + 16);
        for name in [
            "exits_oom",
            "init_exits_oom",
            "orphans_subreaper",
            "reaps_subreaper",
            "reaps_other_subreaper",
            "ns_joined_inside_pid",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }
}
