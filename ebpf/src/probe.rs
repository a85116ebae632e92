//! Every program: where it hooks, what it is for, and what replaces it where the kernel refuses it.

use podproof_abi::need;
use serde::{Deserialize, Serialize};

use crate::tracer::TraceOptions;

/// Every program, by tier, without having tried any: none is attached, and none has a reason for that.
#[must_use]
pub fn programs() -> Vec<ProbeStatus> {
    let mut all: Vec<ProbeStatus> = PROBES.iter().map(Probe::status).collect();
    all.sort_by_key(|probe| probe.tier);
    all
}

/// The program of this name.
pub(crate) fn by_name(name: &str) -> Option<&'static Probe> {
    PROBES.iter().find(|probe| probe.name == name)
}

/// What became of one program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// The program.
    pub name: String,
    /// The tracepoint or kernel function that it hooks.
    pub hook: String,
    /// 1 BTF tracepoints, 2 system calls, 3 fentry and fexit.
    pub tier: u8,
    /// `tp_btf`, `fentry` or `fexit`.
    pub mechanism: String,
    /// Without it no tracer starts.
    pub required: bool,
    /// It runs; a program that is only [`on demand`](Self::on_demand) was attached once to see that it can be.
    pub attached: bool,
    /// It is attached only while a scope is open, since it taxes every system call of the machine.
    pub on_demand: bool,
    /// It is loaded only for counters that have to be asked for by themselves ([`crate::TraceOptions::throttling`]).
    pub on_request: bool,
    /// Why it is not attached: the step, the error, what the verifier said.
    pub reason: Option<String>,
    /// The kernel's error number, where it was the kernel that refused.
    pub errno: Option<i32>,
    /// What it shows.
    pub gives: String,
    /// What takes its place where it is missing; empty when nothing does.
    pub fallback: String,
    /// Runs since it was attached; `None` while the kernel's BPF statistics are off.
    pub run_count: Option<u64>,
    /// Time of these runs in nanoseconds; `None` while the kernel's BPF statistics are off.
    pub run_time_ns: Option<u64>,
    /// Runs that the kernel skipped because the program was running on that CPU already.
    pub missed: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    TpBtf,
    Fentry,
    Fexit,
}

impl Mechanism {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
        }
    }
}

/// Which output a program serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    Events,
    Counters,
    Both,
    /// Counters of CPU bandwidth, which have to be asked for.
    Throttling,
}

use Mechanism::{Fentry, Fexit};
use Serves::{Both, Counters, Events, Throttling};

/// One program.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) name: &'static str,
    pub(crate) hook: &'static str,
    pub(crate) tier: u8,
    pub(crate) mechanism: Mechanism,
    pub(crate) required: bool,
    pub(crate) needs: u32,
    pub(crate) serves: Serves,
    /// Parameters of the hooked function, where the program reads them or what comes after them.
    pub(crate) n_parameters: Option<u32>,
    gives: &'static str,
    fallback: &'static str,
}

impl Probe {
    /// Whether it is wanted for these outputs.
    pub(crate) fn serves(&self, options: &TraceOptions) -> bool {
        let TraceOptions { events, counters, throttling, .. } = *options;
        match self.serves {
            Events => events,
            Counters => counters,
            Both => events || counters,
            Throttling => counters && throttling,
        }
    }

    /// Mechanism and hook, as events name their source.
    pub(crate) fn source(&self) -> String {
        format!("{}/{}", self.mechanism.name(), self.hook)
    }

    /// The status of a program that has not been tried.
    pub(crate) fn status(&self) -> ProbeStatus {
        ProbeStatus {
            name: self.name.into(),
            hook: self.hook.into(),
            tier: self.tier,
            mechanism: self.mechanism.name().into(),
            required: self.required,
            attached: false,
            on_demand: self.tier == 2,
            on_request: self.serves == Throttling,
            reason: None,
            errno: None,
            gives: self.gives.into(),
            fallback: self.fallback.into(),
            run_count: None,
            run_time_ns: None,
            missed: None,
        }
    }
}

const fn tracepoint(
    name: &'static str,
    serves: Serves,
    required: bool,
    needs: u32,
    gives: &'static str,
) -> Probe {
    Probe {
        name,
        hook: name,
        tier: 1,
        mechanism: Mechanism::TpBtf,
        required,
        needs: needs | need::TASK,
        serves,
        n_parameters: None,
        gives,
        fallback: "",
    }
}

const fn system_call(name: &'static str, gives: &'static str) -> Probe {
    let probe = tracepoint(name, Events, true, need::SYSCALL, gives);
    Probe { tier: 2, ..probe }
}

const fn function(
    name: &'static str,
    hook: &'static str,
    mechanism: Mechanism,
    serves: Serves,
    (needs, n_parameters): (u32, u32),
    (gives, fallback): (&'static str, &'static str),
) -> Probe {
    Probe {
        name,
        hook,
        tier: 3,
        mechanism,
        required: false,
        needs: needs | need::TASK,
        serves,
        n_parameters: Some(n_parameters),
        gives,
        fallback,
    }
}

/// All programs, in the order in which they are attached: the ends of a life before its beginnings, so that no task
/// is seen to begin whose end would be missed.
pub(crate) const PROBES: &[Probe] = &[
    function(
        "release_task",
        "release_task",
        Fentry,
        Both,
        (need::EXIT, 1),
        (
            "exact time of a reap and the reaper; zombie durations; reaps by reaper",
            "events: sys_exit (wait4, waitid), sched_process_free; counters: unavailable",
        ),
    ),
    function(
        "do_notify_parent",
        "do_notify_parent",
        Fexit,
        Both,
        (need::EXIT, 2),
        (
            "auto-reap of a process whose leader ended before its last thread; new parents of zombies",
            "events: sched_process_free; counters: unavailable",
        ),
    ),
    tracepoint("sched_process_free", Events, true, 0, "a process is gone, 20 ms or more after its reap"),
    tracepoint(
        "sched_process_exit",
        Both,
        true,
        need::EXIT,
        "end of a task: status, last of its group, OOM, tracer; parent at the end; orphans",
    ),
    tracepoint(
        "signal_generate",
        Both,
        true,
        need::SIGNAL | need::EXIT,
        "signals sent and what became of them; start of a zombie (SIGCHLD)",
    ),
    tracepoint("signal_deliver", Events, true, need::SIGNAL, "signals taken, and by what action"),
    tracepoint(
        "sched_process_exec",
        Both,
        true,
        need::EXEC,
        "programs executed: file, credentials, namespaces, cgroup, root mount",
    ),
    function(
        "oom_kill_process",
        "oom_kill_process",
        Fentry,
        Both,
        (need::OOM, 2),
        ("why the OOM killer acts, and whose limit was hit", "memory.events.local of the cgroups"),
    ),
    function(
        "oom_kill_process_return",
        "oom_kill_process",
        Fexit,
        Both,
        (need::OOM, 2),
        ("end of an OOM kill", ""),
    ),
    function(
        "oom_kill_victim",
        "__oom_kill_process",
        Fentry,
        Counters,
        (need::EXIT, 2),
        ("OOM kills by constraint", "ends by OOM (sched_process_exit)"),
    ),
    Probe {
        fallback: "ends by OOM (sched_process_exit)",
        ..tracepoint("mark_victim", Events, false, 0, "victims of the OOM killer")
    },
    tracepoint("cgroup_rmdir", Both, false, need::CGROUP, "cgroups removed"),
    tracepoint("cgroup_freeze", Events, false, need::CGROUP, "cgroups told to freeze"),
    tracepoint("cgroup_unfreeze", Events, false, need::CGROUP, "cgroups told to thaw"),
    tracepoint("cgroup_notify_frozen", Events, false, need::CGROUP, "cgroups that stand still"),
    tracepoint(
        "cgroup_notify_populated",
        Events,
        false,
        need::CGROUP,
        "cgroups that got or lost their tasks",
    ),
    function(
        "cgroup_attach_task_entry",
        "cgroup_attach_task",
        Fentry,
        Counters,
        (need::CGROUP, 3),
        ("processes moved out of a cgroup", ""),
    ),
    tracepoint("cgroup_attach_task", Both, false, need::CGROUP, "processes moved into a cgroup"),
    tracepoint("cgroup_mkdir", Both, false, need::CGROUP, "cgroups made; counting begins"),
    function(
        "zap_pid_ns_processes_return",
        "zap_pid_ns_processes",
        Fexit,
        Counters,
        (0, 1),
        ("a pid namespace has ended", ""),
    ),
    function(
        "zap_pid_ns_processes",
        "zap_pid_ns_processes",
        Fentry,
        Counters,
        (0, 1),
        ("processes killed with their pid namespace", ""),
    ),
    function("do_wait", "do_wait", Fexit, Counters, (need::WAIT, 1), ("wait calls by result", "")),
    function(
        "copy_process",
        "copy_process",
        Fexit,
        Counters,
        (need::CLONE, 4),
        ("tasks and namespaces refused", "events: sys_exit (clone, clone3, fork, vfork)"),
    ),
    function(
        "ksys_unshare",
        "ksys_unshare",
        Fexit,
        Counters,
        (0, 1),
        ("namespaces made by unshare, and refused", "events: sys_exit (unshare)"),
    ),
    function(
        "setns_return",
        "__x64_sys_setns",
        Fexit,
        Counters,
        (0, 1),
        ("namespaces joined, and refused", "events: sys_exit (setns)"),
    ),
    function("setns", "__x64_sys_setns", Fentry, Counters, (0, 1), ("namespaces before a setns", "")),
    function(
        "setns_compat_return",
        "__ia32_sys_setns",
        Fexit,
        Counters,
        (0, 1),
        ("the same of setns by the 32-bit entry", ""),
    ),
    function(
        "setns_compat",
        "__ia32_sys_setns",
        Fentry,
        Counters,
        (0, 1),
        ("namespaces before a setns by the 32-bit entry", ""),
    ),
    function(
        "unthrottle_cfs_rq_return",
        "unthrottle_cfs_rq",
        Fexit,
        Throttling,
        (need::CPU, 1),
        ("how long a run queue was throttled", "throttled_usec in cpu.stat of the cgroups"),
    ),
    function(
        "unthrottle_cfs_rq",
        "unthrottle_cfs_rq",
        Fentry,
        Throttling,
        (need::CPU, 1),
        ("since when a run queue is throttled", ""),
    ),
    system_call(
        "sys_exit",
        "results of setns, unshare, wait4, waitid, mount calls, pivot_root, chroot, host names, shared memory, writes to \
         cgroup files; clones and execs that failed",
    ),
    system_call("sys_enter", "namespaces before setns and unshare"),
    tracepoint("task_newtask", Both, true, 0, "tasks created: flags, namespaces, cgroup, parent"),
];
