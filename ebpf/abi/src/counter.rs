//! The counters that the programs keep, per cgroup and for the rest of the node: one array of `u64`, indexed by [`Counter`].

/// Namespace types in the order of the counters' ranges, as `CLONE_NEW*` (clone(2)).
pub const NS_FLAGS: [u64; N_NS] = [
    0x0200_0000, // cgroup
    0x0800_0000, // ipc
    0x0002_0000, // mnt
    0x4000_0000, // net
    0x2000_0000, // pid
    0x0000_0080, // time
    0x1000_0000, // user
    0x0400_0000, // uts
];
/// All of them.
pub const NS_MASK: u64 = 0x7e02_0080;
/// Namespace types.
pub const N_NS: usize = 8;

/// Upper bounds of the buckets of zombie durations, in nanoseconds; what is longer is in one more.
pub const ZOMBIE_BOUNDS_NS: [u64; 8] = [
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    60_000_000_000,
    600_000_000_000,
    3_600_000_000_000,
];

/// The same for the times that a run queue is throttled without a break.
pub const THROTTLE_BOUNDS_NS: [u64; 5] = [1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000];

/// Kernel threads have this in `task_struct.flags`.
pub const PF_KTHREAD: u32 = 0x0020_0000;

macro_rules! counters {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $($program:literal)+;)*) => {
        /// Indices into [`Counts::values`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        #[allow(missing_docs, reason = "the name in the table says what is counted")]
        pub enum Counter {
            $($(#[$doc])* $id,)*
        }

        impl Counter {
            /// All of them, in the order of their indices.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// Name for people and programs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)* }
            }

            /// The programs that make it, all of them needed; one of the highest tier comes first.
            #[must_use]
            pub const fn programs(self) -> &'static [&'static str] {
                match self { $(Self::$id => &[$($program),+],)* }
            }
        }

        /// How many there are.
        pub const N_COUNTERS: usize = Counter::ALL.len();
    };
}

counters! {
    ForksProcess = "forks_process", "task_newtask";
    ForksThread = "forks_thread", "task_newtask";
    Execs = "execs", "sched_process_exec";
    /// Ends of processes, that is of the last thread of a group; by wait status.
    ExitsSuccess = "exits_success", "sched_process_exit";
    ExitsError = "exits_error", "sched_process_exit";
    ExitsSignal = "exits_signal", "sched_process_exit";
    ExitsOom = "exits_oom", "sched_process_exit";
    /// The same for PID 1 of a pid namespace below the initial one.
    InitExitsSuccess = "init_exits_success", "sched_process_exit";
    InitExitsError = "init_exits_error", "sched_process_exit";
    InitExitsSignal = "init_exits_signal", "sched_process_exit";
    InitExitsOom = "init_exits_oom", "sched_process_exit";
    /// Orphans at their end, by who their parent is then.
    OrphansInit = "orphans_init", "sched_process_exit";
    OrphansSubreaper = "orphans_subreaper", "sched_process_exit";
    OrphansHostInit = "orphans_host_init", "sched_process_exit";
    OrphansOther = "orphans_other", "sched_process_exit";
    /// PID 1 again, but of another cgroup than the orphan's.
    OrphansOtherInit = "orphans_other_init", "sched_process_exit";
    /// Processes killed while their pid namespace ends.
    NsKilled = "ns_killed", "zap_pid_ns_processes" "zap_pid_ns_processes_return" "sched_process_exit";
    /// Tasks refused by clone(2) and its like, by errno.
    ForkFailuresEagain = "fork_failures_eagain", "copy_process";
    ForkFailuresEnomem = "fork_failures_enomem", "copy_process";
    ForkFailuresEperm = "fork_failures_eperm", "copy_process";
    ForkFailuresOther = "fork_failures_other", "copy_process";
    /// Dead processes released, by the kind of task that did it.
    ReapsParent = "reaps_parent", "release_task";
    ReapsInit = "reaps_init", "release_task";
    ReapsSubreaper = "reaps_subreaper", "release_task";
    ReapsHostInit = "reaps_host_init", "release_task";
    ReapsTracer = "reaps_tracer", "release_task";
    ReapsAuto = "reaps_auto", "release_task" "do_notify_parent";
    /// PID 1 and subreapers again, but of another cgroup than the dead process's.
    ReapsOtherInit = "reaps_other_init", "release_task";
    ReapsOtherSubreaper = "reaps_other_subreaper", "release_task";
    /// Time from the start of a zombie to its release, not cumulative.
    ZombieLe0 = "zombie_le_1ms", "release_task" "do_notify_parent" "signal_generate";
    ZombieLe1 = "zombie_le_10ms", "release_task" "do_notify_parent" "signal_generate";
    ZombieLe2 = "zombie_le_100ms", "release_task" "do_notify_parent" "signal_generate";
    ZombieLe3 = "zombie_le_1s", "release_task" "do_notify_parent" "signal_generate";
    ZombieLe4 = "zombie_le_10s", "release_task" "do_notify_parent" "signal_generate";
    ZombieLe5 = "zombie_le_60s", "release_task" "do_notify_parent" "signal_generate";
    ZombieLe6 = "zombie_le_600s", "release_task" "do_notify_parent" "signal_generate";
    ZombieLe7 = "zombie_le_3600s", "release_task" "do_notify_parent" "signal_generate";
    ZombieMore = "zombie_more", "release_task" "do_notify_parent" "signal_generate";
    ZombieSumNs = "zombie_sum_ns", "release_task" "do_notify_parent" "signal_generate";
    /// wait4(2) and waitid(2), by what they brought; in the caller's cgroup.
    WaitsReaped = "waits_reaped", "do_wait";
    WaitsNoneReady = "waits_none_ready", "do_wait";
    WaitsNoChildren = "waits_no_children", "do_wait";
    WaitsInterrupted = "waits_interrupted", "do_wait";
    WaitsError = "waits_error", "do_wait";
    /// Namespaces made by clone, in the caller's cgroup, in the order of [`NS_FLAGS`].
    NsClonedCgroup = "ns_cloned_cgroup", "task_newtask";
    NsClonedIpc = "ns_cloned_ipc", "task_newtask";
    NsClonedMnt = "ns_cloned_mnt", "task_newtask";
    NsClonedNet = "ns_cloned_net", "task_newtask";
    NsClonedPid = "ns_cloned_pid", "task_newtask";
    NsClonedTime = "ns_cloned_time", "task_newtask";
    NsClonedUser = "ns_cloned_user", "task_newtask";
    NsClonedUts = "ns_cloned_uts", "task_newtask";
    /// Namespaces made by unshare.
    NsUnsharedCgroup = "ns_unshared_cgroup", "ksys_unshare";
    NsUnsharedIpc = "ns_unshared_ipc", "ksys_unshare";
    NsUnsharedMnt = "ns_unshared_mnt", "ksys_unshare";
    NsUnsharedNet = "ns_unshared_net", "ksys_unshare";
    NsUnsharedPid = "ns_unshared_pid", "ksys_unshare";
    NsUnsharedTime = "ns_unshared_time", "ksys_unshare";
    NsUnsharedUser = "ns_unshared_user", "ksys_unshare";
    NsUnsharedUts = "ns_unshared_uts", "ksys_unshare";
    /// Namespaces entered by setns, by a caller that was not in the machine's first mount namespace.
    NsJoinedInsideCgroup = "ns_joined_inside_cgroup", "setns_return" "setns";
    NsJoinedInsideIpc = "ns_joined_inside_ipc", "setns_return" "setns";
    NsJoinedInsideMnt = "ns_joined_inside_mnt", "setns_return" "setns";
    NsJoinedInsideNet = "ns_joined_inside_net", "setns_return" "setns";
    NsJoinedInsidePid = "ns_joined_inside_pid", "setns_return" "setns";
    NsJoinedInsideTime = "ns_joined_inside_time", "setns_return" "setns";
    NsJoinedInsideUser = "ns_joined_inside_user", "setns_return" "setns";
    NsJoinedInsideUts = "ns_joined_inside_uts", "setns_return" "setns";
    /// The same by a caller that was in it.
    NsJoinedOutsideCgroup = "ns_joined_outside_cgroup", "setns_return" "setns";
    NsJoinedOutsideIpc = "ns_joined_outside_ipc", "setns_return" "setns";
    NsJoinedOutsideMnt = "ns_joined_outside_mnt", "setns_return" "setns";
    NsJoinedOutsideNet = "ns_joined_outside_net", "setns_return" "setns";
    NsJoinedOutsidePid = "ns_joined_outside_pid", "setns_return" "setns";
    NsJoinedOutsideTime = "ns_joined_outside_time", "setns_return" "setns";
    NsJoinedOutsideUser = "ns_joined_outside_user", "setns_return" "setns";
    NsJoinedOutsideUts = "ns_joined_outside_uts", "setns_return" "setns";
    /// Refused namespace operations, by call and errno. A clone counts here when it asked for a namespace.
    NsCloneEperm = "ns_clone_eperm", "copy_process";
    NsCloneEinval = "ns_clone_einval", "copy_process";
    NsCloneEnospc = "ns_clone_enospc", "copy_process";
    NsCloneOther = "ns_clone_other", "copy_process";
    NsUnshareEperm = "ns_unshare_eperm", "ksys_unshare";
    NsUnshareEinval = "ns_unshare_einval", "ksys_unshare";
    NsUnshareEnospc = "ns_unshare_enospc", "ksys_unshare";
    NsUnshareOther = "ns_unshare_other", "ksys_unshare";
    NsSetnsEperm = "ns_setns_eperm", "setns_return" "setns";
    NsSetnsEinval = "ns_setns_einval", "setns_return" "setns";
    NsSetnsEnospc = "ns_setns_enospc", "setns_return" "setns";
    NsSetnsOther = "ns_setns_other", "setns_return" "setns";
    /// Processes killed by the OOM killer, in their own cgroup, by `enum oom_constraint`.
    OomKillsGlobal = "oom_kills_global", "oom_kill_victim" "oom_kill_process" "oom_kill_process_return";
    OomKillsCpuset = "oom_kills_cpuset", "oom_kill_victim" "oom_kill_process" "oom_kill_process_return";
    OomKillsMempolicy = "oom_kills_mempolicy", "oom_kill_victim" "oom_kill_process" "oom_kill_process_return";
    OomKillsMemcg = "oom_kills_memcg", "oom_kill_victim" "oom_kill_process" "oom_kill_process_return";
    /// How long a run queue of the cgroup was throttled, not cumulative.
    ThrottleLe0 = "throttle_le_1ms", "unthrottle_cfs_rq_return" "unthrottle_cfs_rq";
    ThrottleLe1 = "throttle_le_10ms", "unthrottle_cfs_rq_return" "unthrottle_cfs_rq";
    ThrottleLe2 = "throttle_le_100ms", "unthrottle_cfs_rq_return" "unthrottle_cfs_rq";
    ThrottleLe3 = "throttle_le_1s", "unthrottle_cfs_rq_return" "unthrottle_cfs_rq";
    ThrottleLe4 = "throttle_le_10s", "unthrottle_cfs_rq_return" "unthrottle_cfs_rq";
    ThrottleMore = "throttle_more", "unthrottle_cfs_rq_return" "unthrottle_cfs_rq";
    ThrottleSumNs = "throttle_sum_ns", "unthrottle_cfs_rq_return" "unthrottle_cfs_rq";
    /// Processes moved into the cgroup after their birth.
    MigrationsIn = "migrations_in", "cgroup_attach_task";
    /// Processes moved out of it.
    MigrationsOut = "migrations_out", "cgroup_attach_task_entry" "cgroup_attach_task";
    /// Cgroups of the v2 hierarchy made and removed; of no cgroup.
    CgroupsCreated = "cgroups_created", "cgroup_mkdir";
    CgroupsRemoved = "cgroups_removed", "cgroup_rmdir";
}

/// The counters of one cgroup, or of what is in none on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// By [`Counter`].
    pub values: [u64; N_COUNTERS],
}

/// Value of the map from thread group id to the zombie that it is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Zombie {
    /// `CLOCK_BOOTTIME` when the parent was told, nanoseconds.
    pub since_ns: u64,
    /// `start_boottime` of the leader.
    pub start_ns: u64,
    /// Its cgroup.
    pub cgroup_id: u64,
    /// Thread group of the parent that was told.
    pub parent_tgid: u32,
    /// 1 when the parent is PID 1 of a pid namespace below the initial one and in the zombie's cgroup, 2 when it is such a one in
    /// another cgroup, else 0.
    pub parent_init: u32,
}

const _: () = assert!(size_of::<Counts>() == 8 * N_COUNTERS);
const _: () = assert!(size_of::<Zombie>() == 32);
