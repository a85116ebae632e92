//! What the probes saw, as values for people and programs: one [`Event`] per kernel fact, in one order.
//!
//! Numbers are the node's own (`tid`, `tgid` in the initial pid namespace) unless the field is called
//! `ns_pids`. Times are nanoseconds of `CLOCK_BOOTTIME`. A namespace is named by the inode of its nsfs
//! file; `None` means that the kernel had none at that moment (a task that is being released), never zero.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One fact that the kernel showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the ring: a total order over all CPUs.
    pub seq: u64,
    /// `CLOCK_BOOTTIME` at the hook, in nanoseconds.
    pub time_ns: u64,
    /// The CPU that the hook ran on.
    pub cpu: u32,
    /// The scope that the record belongs to (0: none).
    pub scope: u32,
    /// The task that the hook ran in. For `Free` it is unrelated to the fact.
    pub current: TaskRef,
    /// Name of the current task (`comm`, at most 15 bytes).
    pub comm: String,
    /// The hook, with its mechanism: `tp_btf/sched_process_exec`, `fentry/release_task`.
    pub source: String,
    /// The fact itself.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Identity of a task that stays unique when numbers come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskRef {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Thread group id in the initial pid namespace.
    pub tgid: u32,
    /// `start_boottime` of the task, nanoseconds.
    pub start_ns: u64,
}

/// A task with everything that the hook could read of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// Which task.
    pub task: TaskRef,
    /// Its number in each pid namespace that sees it, outermost first (proc(5) `NSpid`).
    pub ns_pids: Vec<u32>,
    /// Its namespaces.
    pub ns: NsSet,
    /// Id of its cgroup in the v2 hierarchy (the inode of the directory).
    pub cgroup_id: u64,
    /// `real_parent`: the process whose child it is, after any reparenting.
    pub parent: TaskRef,
    /// Pid namespace of `parent`.
    pub parent_pid_ns: Option<u32>,
}

impl TaskView {
    /// The number of the task in its own, innermost pid namespace.
    #[must_use]
    pub fn ns_pid(&self) -> Option<u32> {
        self.ns_pids.last().copied()
    }
}

/// The kinds of namespaces, with the names of `/proc/PID/ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NsKind {
    /// Mount namespace.
    Mnt,
    /// Host and domain name.
    Uts,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Network.
    Net,
    /// The pid namespace that the task itself is in.
    Pid,
    /// The pid namespace that its children will be in.
    PidForChildren,
    /// Root of the cgroup view.
    Cgroup,
    /// User ids and capabilities.
    User,
    /// Clock offsets.
    Time,
    /// Clock offsets of its children.
    TimeForChildren,
}

impl NsKind {
    /// All kinds, in the order of [`NsKind`].
    pub const ALL: [Self; 10] = [
        Self::Mnt,
        Self::Uts,
        Self::Ipc,
        Self::Net,
        Self::Pid,
        Self::PidForChildren,
        Self::Cgroup,
        Self::User,
        Self::Time,
        Self::TimeForChildren,
    ];

    /// The file name below `/proc/PID/ns`.
    #[must_use]
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::Mnt => "mnt",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::PidForChildren => "pid_for_children",
            Self::Cgroup => "cgroup",
            Self::User => "user",
            Self::Time => "time",
            Self::TimeForChildren => "time_for_children",
        }
    }
}

impl fmt::Display for NsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.proc_name())
    }
}

/// The namespaces of one task, as inodes of nsfs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NsSet {
    /// Mount namespace.
    pub mnt: Option<u32>,
    /// UTS namespace.
    pub uts: Option<u32>,
    /// IPC namespace.
    pub ipc: Option<u32>,
    /// Network namespace.
    pub net: Option<u32>,
    /// Pid namespace of the task itself.
    pub pid: Option<u32>,
    /// Pid namespace for children.
    pub pid_for_children: Option<u32>,
    /// Cgroup namespace.
    pub cgroup: Option<u32>,
    /// User namespace.
    pub user: Option<u32>,
    /// Time namespace.
    pub time: Option<u32>,
    /// Time namespace for children.
    pub time_for_children: Option<u32>,
}

impl NsSet {
    /// The inode of one kind.
    #[must_use]
    pub fn get(&self, kind: NsKind) -> Option<u32> {
        match kind {
            NsKind::Mnt => self.mnt,
            NsKind::Uts => self.uts,
            NsKind::Ipc => self.ipc,
            NsKind::Net => self.net,
            NsKind::Pid => self.pid,
            NsKind::PidForChildren => self.pid_for_children,
            NsKind::Cgroup => self.cgroup,
            NsKind::User => self.user,
            NsKind::Time => self.time,
            NsKind::TimeForChildren => self.time_for_children,
        }
    }
}

/// Credentials at an exec, after the new program's have been committed (credentials(7), capabilities(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creds {
    /// Effective user id, in the initial user namespace.
    pub uid: u32,
    /// Effective group id, in the initial user namespace.
    pub gid: u32,
    /// Inheritable capabilities, one bit each.
    pub cap_inheritable: u64,
    /// Permitted capabilities.
    pub cap_permitted: u64,
    /// Effective capabilities.
    pub cap_effective: u64,
    /// Bounding set.
    pub cap_bounding: u64,
    /// Ambient capabilities.
    pub cap_ambient: u64,
    /// `no_new_privs` (prctl(2)).
    pub no_new_privs: bool,
    /// Seccomp mode: 0 none, 1 strict, 2 filter.
    pub seccomp_mode: u32,
}

/// The root directory of a task (proc_pid_root(5)), by the mount that it lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootMount {
    /// Id of the mount, as in the first field of `/proc/PID/mountinfo`.
    pub mount_id: u32,
    /// Major number of the device of its file system.
    pub dev_major: u32,
    /// Minor number of it.
    pub dev_minor: u32,
    /// The root directory is the root of that mount, as pivot_root(2) leaves it; false after chroot(2) into a directory.
    pub is_mount_root: bool,
}

/// Whose rule made the kernel run out of memory (`enum oom_constraint`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OomConstraint {
    /// The whole machine.
    Global,
    /// The memory nodes of a cpuset.
    Cpuset,
    /// A NUMA policy.
    MemoryPolicy,
    /// The limit of a memory cgroup.
    Memcg,
}

/// Which system call waited for children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitCall {
    /// wait4(2), which waitpid(2) is made of.
    Wait4,
    /// waitid(2)
    Waitid,
}

/// What became of a generated signal (`TRACE_SIGNAL_*` of the kernel).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalResult {
    /// Queued or already pending as wanted: it will be delivered.
    Delivered,
    /// Dropped: the target ignores it.
    Ignored,
    /// The same standard signal was pending already.
    AlreadyPending,
    /// A realtime signal found the queue full; the sender got an error.
    OverflowFail,
    /// A signal lost its siginfo because the queue was full.
    LoseInfo,
}

/// What a delivered signal ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalAction {
    /// `SIG_DFL`.
    Default,
    /// `SIG_IGN`.
    Ignore,
    /// A handler of the program.
    Handler,
}

/// How a reap was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReapSource {
    /// `release_task`: exact time and reaper.
    ReleaseTask,
    /// The return of wait4 or waitid in the reaper.
    Wait,
}

/// In which role a dead process was reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reaper {
    /// Its parent, by birth or by adoption. From the return of a wait alone, when the end was not seen, also a tracer.
    Parent,
    /// Its tracer (ptrace(2)), which is not its parent.
    Tracer,
    /// The kernel itself: the parent ignores `SIGCHLD` or has `SA_NOCLDWAIT` set, or whoever inherited the zombie does; or the
    /// process had no exit signal, or its pid namespace ended.
    Auto,
    /// The source does not tell.
    Unknown,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A task was created; `current` called clone. Its namespaces and cgroup are final; it has not run yet.
    NewTask {
        /// The new task.
        child: TaskView,
        /// `CLONE_*` flags (clone(2)), without the exit signal. `CLONE_THREAD` marks a thread.
        flags: u64,
        /// Signal for the parent at its end (0: none).
        exit_signal: i32,
    },
    /// clone, clone3, fork or vfork failed.
    CloneFailed {
        /// `CLONE_*` flags, where the call carries them in a register or in readable memory.
        flags: u64,
        /// The error, positive.
        errno: i32,
    },
    /// A new program runs.
    Exec {
        /// The task after the exec.
        task: TaskView,
        /// Path given to execve, as the kernel opened it.
        filename: String,
        /// The thread id that called execve; differs from `task` when it was not the leader.
        old_tid: u32,
        /// Credentials that the program starts with.
        creds: Creds,
        /// Its root directory; `None` where the kernel's structures do not tell.
        root: Option<RootMount>,
    },
    /// execve or execveat failed.
    ExecFailed {
        /// Path argument.
        filename: String,
        /// The error, positive.
        errno: i32,
    },
    /// A task ended. `group_dead` marks the end of a process, whichever of its threads shows it: look for the `tgid`.
    /// (Threads that end together may show theirs after that; and when a thread executes a program, the old
    /// leader ends without the process.)
    Exit {
        /// The task; namespaces and parent as they were at its end.
        task: TaskView,
        /// Wait status (wait(2)): code in bits 8-15, signal in bits 0-6.
        status: u32,
        /// It was the last thread of its group; true for exactly one.
        group_dead: bool,
        /// The OOM killer had chosen its process; `None` where the kernel's structures do not tell.
        oom: Option<bool>,
        /// Who traced it (ptrace(2)).
        tracer: Option<TaskRef>,
    },
    /// The parent was told of the end of its child; unless it ignores that, a zombie exists from here on.
    ZombieStart {
        /// The dead process.
        task: TaskRef,
        /// Who was told.
        parent: TaskRef,
        /// `CLD_EXITED` 1, `CLD_KILLED` 2, `CLD_DUMPED` 3.
        si_code: i32,
    },
    /// A dead task was released.
    Reap {
        /// Who is gone; `start_ns` is 0 when only the number was known (`Wait`).
        task: TaskRef,
        /// Its numbers, outermost first.
        ns_pids: Vec<u32>,
        /// How this was seen; `current` is the reaper, or the dead task itself when the kernel reaped it (auto-reap).
        by: ReapSource,
        /// In which role.
        reaper: Reaper,
        /// From the first start of the zombie to here, in nanoseconds; `None` when that start was not seen, as with an exit
        /// signal other than `SIGCHLD`.
        zombie_ns: Option<u64>,
    },
    /// wait4 or waitid returned, whatever it brought.
    Wait {
        /// Which call.
        call: WaitCall,
        /// `WNOHANG`, `WUNTRACED`, `WNOWAIT` and the like.
        options: u32,
        /// Return value: for wait4 the child's number (0: nothing yet), for waitid 0, or the negated errno. A signal shows
        /// as -512 (`ERESTARTSYS`): whether the call begins again or fails with EINTR is decided after the hook.
        ret: i64,
        /// The child's number in the pid namespace of the caller, when there is one; the number that waitid was asked for when
        /// the caller wanted no result, whether there was anything to take or not.
        child: Option<u32>,
        /// Wait status (wait4), `si_code` (waitid), where the caller asked for it.
        status: Option<u32>,
    },
    /// The kernel freed the leader of a process, a grace period or more after its release: the process is gone with all its
    /// threads. Does not prove when or by whom (though without fentry it is all that shows an auto-reap). Its absence proves
    /// nothing: the kernel may keep a task for long, and one whose number belongs to a younger process by then is passed over.
    Free {
        /// Who is gone.
        task: TaskRef,
    },
    /// A process has another parent than when it was last seen: compared at its birth, its execs and its end.
    Reparent {
        /// The orphan.
        task: TaskRef,
        /// Parent before.
        from: TaskRef,
        /// Parent at this moment: a subreaper, or PID 1 of its namespace.
        to: TaskRef,
    },
    /// A signal was sent.
    SignalGenerate {
        /// Number of the signal.
        signal: u32,
        /// `si_code`: 0 user, negative queue and tgkill, positive kernel.
        si_code: i32,
        /// Who it is for.
        target: TaskRef,
        /// The target's numbers, outermost first.
        target_ns_pids: Vec<u32>,
        /// To the whole thread group.
        group: bool,
        /// What became of it.
        result: SignalResult,
    },
    /// A signal was taken by `current`.
    SignalDeliver {
        /// Number of the signal. A fatal one with default action shows as 9.
        signal: u32,
        /// `si_code`.
        si_code: i32,
        /// What it ran.
        action: SignalAction,
    },
    /// The OOM killer chose a victim.
    OomVictim {
        /// The victim.
        task: TaskRef,
        /// Its cgroup.
        cgroup_id: u64,
        /// Why; `None` when the source does not tell (without fentry).
        constraint: Option<OomConstraint>,
        /// The cgroup whose limit was hit, for a limit of a memory cgroup and where the source tells.
        limit_cgroup_id: Option<u64>,
    },
    /// A cgroup was made.
    CgroupMkdir {
        /// Its id: the inode of the directory.
        id: u64,
        /// Hierarchy (`cgroup_root.hierarchy_id`); 0 is cgroup v2, as in `/proc/PID/cgroup`.
        hierarchy: u32,
        /// Path from the root of the hierarchy.
        path: String,
    },
    /// A cgroup was removed.
    CgroupRmdir {
        /// Its id.
        id: u64,
        /// Hierarchy.
        hierarchy: u32,
        /// Path from the root of the hierarchy.
        path: String,
    },
    /// A task was moved to a cgroup. Neither fork nor clone into a cgroup shows here.
    CgroupAttach {
        /// Id of the destination.
        id: u64,
        /// Hierarchy.
        hierarchy: u32,
        /// Path of the destination.
        path: String,
        /// Who was moved.
        task: TaskRef,
        /// With all threads of the group.
        threadgroup: bool,
    },
    /// A cgroup was told to freeze or to thaw (`cgroup.freeze`), itself or with an ancestor.
    CgroupFreeze {
        /// Its id.
        id: u64,
        /// Hierarchy.
        hierarchy: u32,
        /// Path from the root of the hierarchy.
        path: String,
        /// Freeze, not thaw.
        freeze: bool,
    },
    /// All tasks of a cgroup stand still, or some do no longer (`frozen` in `cgroup.events`).
    CgroupFrozen {
        /// Its id.
        id: u64,
        /// Hierarchy.
        hierarchy: u32,
        /// Path from the root of the hierarchy.
        path: String,
        /// All stand still.
        frozen: bool,
    },
    /// A cgroup got its first task, or lost its last one, in itself or below (`populated` in `cgroup.events`).
    CgroupPopulated {
        /// Its id.
        id: u64,
        /// Hierarchy.
        hierarchy: u32,
        /// Path from the root of the hierarchy.
        path: String,
        /// It has tasks.
        populated: bool,
    },
    /// A file of a cgroup was written: a limit was set, a process moved, a controller enabled. Of a vector of buffers the first
    /// one is shown.
    CgroupWrite {
        /// Id of the cgroup.
        cgroup_id: u64,
        /// Name of the file: `memory.max`.
        file: String,
        /// What was written, without the last newline, cut at 63 bytes.
        value: String,
        /// Bytes written, or the negated errno.
        ret: i64,
    },
    /// setns(2) returned.
    Setns {
        /// Descriptor argument.
        fd: i32,
        /// `CLONE_NEW*` argument; 0 accepts any type.
        nstype: u32,
        /// Return value: 0, or the negated errno.
        ret: i64,
        /// Namespaces at entry.
        before: NsSet,
        /// Namespaces at return.
        after: NsSet,
    },
    /// unshare(2) returned.
    Unshare {
        /// `CLONE_*` argument.
        flags: u64,
        /// Return value: 0, or the negated errno.
        ret: i64,
        /// Namespaces at entry.
        before: NsSet,
        /// Namespaces at return.
        after: NsSet,
    },
    /// mount(2) returned. Strings are cut at 127 bytes.
    Mount {
        /// Source argument.
        from: String,
        /// Target argument, as the caller wrote it.
        target: String,
        /// File system type.
        fstype: String,
        /// `MS_*` flags.
        flags: u64,
        /// Return value: 0, or the negated errno.
        ret: i64,
        /// Mount namespace of the caller.
        mnt_ns: Option<u32>,
    },
    /// umount2(2) returned.
    Umount {
        /// Target argument.
        target: String,
        /// `MNT_*` flags.
        flags: u64,
        /// Return value.
        ret: i64,
        /// Mount namespace of the caller.
        mnt_ns: Option<u32>,
    },
    /// pivot_root(2) returned.
    PivotRoot {
        /// New root.
        new_root: String,
        /// Where the old one goes.
        put_old: String,
        /// Return value.
        ret: i64,
        /// Mount namespace of the caller.
        mnt_ns: Option<u32>,
    },
    /// chroot(2) returned.
    Chroot {
        /// Path argument.
        path: String,
        /// Return value.
        ret: i64,
        /// Mount namespace of the caller.
        mnt_ns: Option<u32>,
    },
    /// fsopen(2) returned: a file system is about to be made.
    Fsopen {
        /// File system type.
        fstype: String,
        /// The descriptor, or the negated errno.
        ret: i64,
    },
    /// open_tree(2) returned: a mount was copied (`OPEN_TREE_CLONE`), or only opened.
    OpenTree {
        /// Path argument.
        path: String,
        /// `OPEN_TREE_*` and `AT_*` flags.
        flags: u64,
        /// The descriptor, or the negated errno.
        ret: i64,
    },
    /// move_mount(2) returned: a mount, usually a new one, was put in its place.
    MoveMount {
        /// Path of the source; empty when its descriptor is the mount.
        from: String,
        /// Path of the target.
        target: String,
        /// `MOVE_MOUNT_*` flags.
        flags: u64,
        /// Return value.
        ret: i64,
        /// Mount namespace of the caller.
        mnt_ns: Option<u32>,
    },
    /// mount_setattr(2) returned.
    MountSetattr {
        /// Path argument.
        path: String,
        /// `MOUNT_ATTR_*` that were set.
        set: u64,
        /// `MOUNT_ATTR_*` that were cleared.
        clear: u64,
        /// `AT_*` flags.
        flags: u64,
        /// Return value.
        ret: i64,
        /// Mount namespace of the caller.
        mnt_ns: Option<u32>,
    },
    /// sethostname(2) or setdomainname(2) returned.
    Hostname {
        /// The name, cut at 64 bytes.
        name: String,
        /// The NIS domain name, not the host name.
        domain: bool,
        /// Return value.
        ret: i64,
        /// UTS namespace of the caller.
        uts_ns: Option<u32>,
    },
    /// shmget(2) returned.
    Shmget {
        /// Key.
        key: i32,
        /// Size in bytes.
        size: u64,
        /// Flags.
        flags: u32,
        /// The id, or the negated errno.
        ret: i64,
        /// IPC namespace of the caller.
        ipc_ns: Option<u32>,
    },
    /// shmat(2) returned.
    Shmat {
        /// Id argument.
        id: i32,
        /// 0, or the negated errno (the address is not kept).
        ret: i64,
        /// IPC namespace of the caller.
        ipc_ns: Option<u32>,
    },
    /// Records of this scope found no room here: between the event before this one and the event after it.
    Gap {
        /// How many.
        lost: u64,
    },
}
