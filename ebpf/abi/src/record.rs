//! Records in the ring: a [`Header`], then the facts of one hook.
//!
//! Numbers are those of the initial pid namespace unless they stand in an array by level. An inode of 0 means that
//! the kernel had no such namespace there. Strings end at the first zero byte; what follows it is undefined.

/// Version of everything in this crate; a reader refuses records of another one.
pub const ABI_VERSION: u16 = 2;
/// Pid namespaces that a record can describe, outermost first. A record of a task that is nested deeper is
/// counted as lost.
pub const MAX_LEVELS: usize = 8;
/// Bytes of a string argument.
pub const STR_LEN: usize = 128;
/// Bytes of a path that the kernel made.
pub const PATH_LEN: usize = 256;
/// Bytes of the name of a file in a cgroup.
pub const FILE_LEN: usize = 32;
/// Bytes of what is written to it.
pub const VALUE_LEN: usize = 64;

/// Values of [`Header::kind`].
pub mod kind {
    /// [`NewTask`](super::NewTask)
    pub const NEW_TASK: u16 = 1;
    /// [`Exec`](super::Exec)
    pub const EXEC: u16 = 2;
    /// [`Exit`](super::Exit)
    pub const EXIT: u16 = 3;
    /// [`Free`](super::Free)
    pub const FREE: u16 = 4;
    /// [`SignalGenerate`](super::SignalGenerate)
    pub const SIGNAL_GENERATE: u16 = 5;
    /// [`SignalDeliver`](super::SignalDeliver)
    pub const SIGNAL_DELIVER: u16 = 6;
    /// [`Cgroup`](super::Cgroup)
    pub const CGROUP_MKDIR: u16 = 7;
    /// [`Cgroup`](super::Cgroup)
    pub const CGROUP_RMDIR: u16 = 8;
    /// [`Attach`](super::Attach)
    pub const CGROUP_ATTACH: u16 = 9;
    /// [`Oom`](super::Oom)
    pub const OOM: u16 = 10;
    /// [`Wait`](super::Wait)
    pub const WAIT: u16 = 11;
    /// [`Release`](super::Release)
    pub const RELEASE: u16 = 12;
    /// [`CloneFailed`](super::CloneFailed)
    pub const CLONE_FAILED: u16 = 13;
    /// [`NsSwitch`](super::NsSwitch)
    pub const SETNS: u16 = 14;
    /// [`NsSwitch`](super::NsSwitch)
    pub const UNSHARE: u16 = 15;
    /// [`Mount`](super::Mount)
    pub const MOUNT: u16 = 16;
    /// [`Umount`](super::Umount)
    pub const UMOUNT: u16 = 17;
    /// [`PivotRoot`](super::PivotRoot)
    pub const PIVOT_ROOT: u16 = 18;
    /// [`Shm`](super::Shm)
    pub const SHMGET: u16 = 19;
    /// [`Shm`](super::Shm)
    pub const SHMAT: u16 = 20;
    /// [`Fence`](super::Fence)
    pub const FENCE: u16 = 21;
    /// [`ExecFailed`](super::ExecFailed)
    pub const EXEC_FAILED: u16 = 22;
    /// [`Cgroup`](super::Cgroup)
    pub const CGROUP_FREEZE: u16 = 23;
    /// [`Cgroup`](super::Cgroup)
    pub const CGROUP_FROZEN: u16 = 24;
    /// [`Cgroup`](super::Cgroup)
    pub const CGROUP_POPULATED: u16 = 25;
    /// [`CgroupWrite`](super::CgroupWrite)
    pub const CGROUP_WRITE: u16 = 26;
    /// [`Path`](super::Path)
    pub const CHROOT: u16 = 27;
    /// [`Path`](super::Path)
    pub const FSOPEN: u16 = 28;
    /// [`Path`](super::Path)
    pub const OPEN_TREE: u16 = 29;
    /// [`Path`](super::Path)
    pub const MOUNT_SETATTR: u16 = 30;
    /// [`MoveMount`](super::MoveMount)
    pub const MOVE_MOUNT: u16 = 31;
    /// [`Path`](super::Path)
    pub const HOSTNAME: u16 = 32;
    /// [`Path`](super::Path)
    pub const DOMAINNAME: u16 = 33;

    /// Kinds, the unused 0 included.
    pub const N: u32 = 34;
}

/// Values of [`Release::role`].
pub mod reaper {
    /// The parent.
    pub const PARENT: u32 = 1;
    /// A tracer that is not the parent.
    pub const TRACER: u32 = 2;
    /// The kernel: nobody waits for the task.
    pub const AUTO: u32 = 3;
    /// The same, at the release of the last thread of a process whose leader had ended before.
    pub const AUTO_BY_THREAD: u32 = 4;
}

macro_rules! records {
    ($($(#[$doc:meta])* $name:ident = $size:expr; { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug)]
            #[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
            pub struct $name { $($(#[$fdoc])* pub $field: $ty,)* }
            const _: () = assert!(size_of::<$name>() == $size && align_of::<$name>() <= 8);
        )*
    };
}

records! {
    /// Begins every record.
    Header = 72; {
        /// [`ABI_VERSION`]
        abi: u16,
        /// One of [`kind`].
        kind: u16,
        /// Bytes of the whole record.
        len: u32,
        /// `CLOCK_BOOTTIME`, nanoseconds.
        boot_ns: u64,
        /// The CPU that the hook ran on.
        cpu: u32,
        /// The scope that the record belongs to.
        scope: u32,
        /// A second scope that it belongs to (a signal from one scope to another), or 0.
        peer_scope: u32,
        /// Thread that the hook ran in.
        tid: u32,
        /// Its thread group.
        tgid: u32,
        /// Records of `scope` lost up to here, the low 32 bits.
        lost: u32,
        /// Its `start_boottime`.
        start_ns: u64,
        /// Its cgroup in the v2 hierarchy.
        cgroup_id: u64,
        /// Its name.
        comm: [u8; 16],
    }

    /// Identity of a task.
    TaskId = 16; {
        /// Thread id.
        tid: u32,
        /// Thread group id.
        tgid: u32,
        /// `start_boottime`.
        start_ns: u64,
    }

    /// Inodes of the namespaces that hang on `nsproxy` and the credentials.
    NsInodes = 40; {
        /// Mount namespace.
        mnt: u32,
        /// UTS namespace.
        uts: u32,
        /// IPC namespace.
        ipc: u32,
        /// Network namespace.
        net: u32,
        /// Pid namespace for children.
        pid_for_children: u32,
        /// Cgroup namespace.
        cgroup: u32,
        /// User namespace.
        user: u32,
        /// Time namespace.
        time: u32,
        /// Time namespace for children.
        time_for_children: u32,
        /// Pid namespace of the task itself.
        pid: u32,
    }

    /// A task with all that a hook can read of it.
    TaskView = 160; {
        /// Which task.
        task: TaskId,
        /// Leader of the process that is its `real_parent`.
        parent: TaskId,
        /// Its cgroup in the v2 hierarchy.
        cgroup_id: u64,
        /// Pid namespace of the parent.
        parent_pid_ns: u32,
        /// Nesting of its pid namespace; 0 is the initial one.
        level: u32,
        /// Its number at each level up to `level`.
        nr: [u32; MAX_LEVELS],
        /// The pid namespace at each level.
        pid_ns: [u32; MAX_LEVELS],
        /// Its namespaces.
        ns: NsInodes,
        /// Signal for the parent at its end; negative for a thread that is no leader.
        exit_signal: i32,
        /// Zero.
        pad: u32,
    }

    /// `task_newtask`
    NewTask = 240; {
        /// Begins the record.
        header: Header,
        /// The new task.
        child: TaskView,
        /// `CLONE_*`, without the exit signal.
        flags: u64,
    }

    /// `sched_process_exec`
    Exec = 568; {
        /// Begins the record.
        header: Header,
        /// The task after the exec.
        task: TaskView,
        /// Thread id before it.
        old_tid: u32,
        /// Effective user id.
        euid: u32,
        /// Effective group id.
        egid: u32,
        /// 1 with `no_new_privs`.
        no_new_privs: u32,
        /// Inheritable, permitted, effective, bounding, ambient capabilities.
        caps: [u64; 5],
        /// 0 none, 1 strict, 2 filter.
        seccomp_mode: u32,
        /// 1 when the members about the root directory are known.
        has_root: u32,
        /// Id of the mount that the root directory lies on.
        root_mount_id: u32,
        /// `dev_t` of its file system as the kernel keeps it: 20 bits of minor number.
        root_dev: u32,
        /// 1 when the root directory is the root of that mount.
        root_is_mount_root: u32,
        /// Zero.
        pad: u32,
        /// Path of the program.
        filename: [u8; PATH_LEN],
    }

    /// `sched_process_exit`
    Exit = 264; {
        /// Begins the record.
        header: Header,
        /// The task.
        task: TaskView,
        /// Wait status.
        status: u32,
        /// 1 for the last thread of its group.
        group_dead: u32,
        /// 1 for a victim of the OOM killer; only with `has_oom`.
        oom: u32,
        /// 1 when `oom` is known.
        has_oom: u32,
        /// Leader of its tracer; zeros without one.
        tracer: TaskId,
    }

    /// `sched_process_free` of a group leader
    Free = 88; {
        /// Begins the record.
        header: Header,
        /// Who is gone.
        task: TaskId,
    }

    /// `signal_generate`
    SignalGenerate = 168; {
        /// Begins the record.
        header: Header,
        /// Who it is for.
        target: TaskId,
        /// Nesting of the target's pid namespace.
        level: u32,
        /// Signal number.
        signal: u32,
        /// The target's number at each level.
        nr: [u32; MAX_LEVELS],
        /// `si_code`.
        code: i32,
        /// For `SIGCHLD`: `si_pid`, in the target's pid namespace.
        chld_pid: u32,
        /// Innermost pid namespace of the target.
        target_pid_ns: u32,
        /// 1 for the whole group.
        group: u32,
        /// `TRACE_SIGNAL_*`
        result: u32,
        /// Zero.
        pad: u32,
        /// `start_boottime` of the leader of `current`.
        sender_leader_start_ns: u64,
        /// The number of the leader of `current` at the target's level, 0 when it is not that deep.
        sender_nr_at_target: u32,
        /// The sender's pid namespace at the target's level.
        sender_pid_ns_at_target: u32,
    }

    /// `signal_deliver`
    SignalDeliver = 88; {
        /// Begins the record.
        header: Header,
        /// Signal number.
        signal: u32,
        /// `si_code`.
        code: i32,
        /// 0 default, 1 ignore, 2 a handler.
        action: u32,
        /// Zero.
        pad: u32,
    }

    /// `cgroup_mkdir`, `cgroup_rmdir`, `cgroup_freeze`, `cgroup_unfreeze`, `cgroup_notify_frozen`,
    /// `cgroup_notify_populated`
    Cgroup = 344; {
        /// Begins the record.
        header: Header,
        /// Its id.
        id: u64,
        /// `cgroup_root.hierarchy_id`.
        hierarchy: u32,
        /// 1 for freeze, frozen, populated.
        value: u32,
        /// From the root of the hierarchy.
        path: [u8; PATH_LEN],
    }

    /// `cgroup_attach_task`
    Attach = 360; {
        /// Begins the record.
        header: Header,
        /// Id of the destination.
        id: u64,
        /// `cgroup_root.hierarchy_id`.
        hierarchy: u32,
        /// 1 with the whole group.
        threadgroup: u32,
        /// Who was moved.
        task: TaskId,
        /// Path of the destination.
        path: [u8; PATH_LEN],
    }

    /// `mark_victim`
    Oom = 112; {
        /// Begins the record.
        header: Header,
        /// The victim; only `tid` is set where the kernel passes a number.
        task: TaskId,
        /// Its cgroup, or 0.
        cgroup_id: u64,
        /// The cgroup whose limit was hit, or 0.
        limit_cgroup_id: u64,
        /// `enum oom_constraint`; only with `has_constraint`.
        constraint: u32,
        /// 1 when it and the limit's cgroup are known.
        has_constraint: u32,
    }

    /// write(2) or pwrite64(2) to a file of a cgroup.
    CgroupWrite = 184; {
        /// Begins the record.
        header: Header,
        /// The cgroup.
        id: u64,
        /// Return value.
        ret: i64,
        /// Name of the file.
        file: [u8; FILE_LEN],
        /// What was written.
        value: [u8; VALUE_LEN],
    }

    /// wait4(2) or waitid(2)
    Wait = 112; {
        /// Begins the record.
        header: Header,
        /// Return value.
        ret: i64,
        /// The child's number in the pid namespace of the caller; 0 when there is none, or it is not known.
        nr: u32,
        /// Options of the call.
        options: u32,
        /// Wait status of wait4, `si_code` of waitid.
        status: u32,
        /// 1 when `status` could be read.
        has_status: u32,
        /// 1 for waitid.
        is_waitid: u32,
        /// Nesting of the caller's pid namespace.
        level: u32,
        /// The caller's pid namespace.
        pid_ns: u32,
        /// Zero.
        pad: u32,
    }

    /// `release_task` of a group leader
    Release = 128; {
        /// Begins the record.
        header: Header,
        /// Who is released.
        task: TaskId,
        /// Nesting of its pid namespace.
        level: u32,
        /// One of [`reaper`].
        role: u32,
        /// Its number at each level.
        nr: [u32; MAX_LEVELS],
    }

    /// clone, clone3, fork or vfork that failed
    CloneFailed = 88; {
        /// Begins the record.
        header: Header,
        /// `CLONE_*`, with the exit signal of clone(2) cleared.
        flags: u64,
        /// Positive error.
        errno: u32,
        /// Zero.
        pad: u32,
    }

    /// execve(2) or execveat(2) that failed
    ExecFailed = 336; {
        /// Begins the record.
        header: Header,
        /// Positive error.
        errno: u32,
        /// Zero.
        pad: u32,
        /// Path argument.
        filename: [u8; PATH_LEN],
    }

    /// setns(2) or unshare(2)
    NsSwitch = 176; {
        /// Begins the record.
        header: Header,
        /// Flags of unshare, `nstype` of setns.
        flags: u64,
        /// Return value.
        ret: i64,
        /// Descriptor of setns.
        fd: i32,
        /// 1 when `before` was recorded.
        has_before: u32,
        /// At entry.
        before: NsInodes,
        /// At return.
        after: NsInodes,
    }

    /// mount(2)
    Mount = 480; {
        /// Begins the record.
        header: Header,
        /// `MS_*`
        flags: u64,
        /// Return value.
        ret: i64,
        /// Mount namespace of the caller.
        mnt_ns: u32,
        /// Zero.
        pad: u32,
        /// Source argument.
        from: [u8; STR_LEN],
        /// Target argument.
        target: [u8; STR_LEN],
        /// Type argument.
        fstype: [u8; STR_LEN],
    }

    /// umount2(2)
    Umount = 224; {
        /// Begins the record.
        header: Header,
        /// `MNT_*`
        flags: u64,
        /// Return value.
        ret: i64,
        /// Mount namespace of the caller.
        mnt_ns: u32,
        /// Zero.
        pad: u32,
        /// Target argument.
        target: [u8; STR_LEN],
    }

    /// pivot_root(2)
    PivotRoot = 344; {
        /// Begins the record.
        header: Header,
        /// Return value.
        ret: i64,
        /// Mount namespace of the caller.
        mnt_ns: u32,
        /// Zero.
        pad: u32,
        /// New root.
        new_root: [u8; STR_LEN],
        /// Where the old one goes.
        put_old: [u8; STR_LEN],
    }

    /// A call with one string: chroot(2), fsopen(2), open_tree(2), mount_setattr(2), sethostname(2), setdomainname(2).
    Path = 240; {
        /// Begins the record.
        header: Header,
        /// Flags argument.
        flags: u64,
        /// `attr_set` of mount_setattr.
        set: u64,
        /// `attr_clr` of mount_setattr.
        clear: u64,
        /// Return value.
        ret: i64,
        /// Mount namespace of the caller; UTS namespace for the names.
        ns: u32,
        /// Zero.
        pad: u32,
        /// The string.
        path: [u8; STR_LEN],
    }

    /// move_mount(2)
    MoveMount = 352; {
        /// Begins the record.
        header: Header,
        /// Flags argument.
        flags: u64,
        /// Return value.
        ret: i64,
        /// Mount namespace of the caller.
        mnt_ns: u32,
        /// Zero.
        pad: u32,
        /// Source argument.
        from: [u8; STR_LEN],
        /// Target argument.
        target: [u8; STR_LEN],
    }

    /// shmget(2) and shmat(2)
    Shm = 104; {
        /// Begins the record.
        header: Header,
        /// Size argument of shmget.
        size: u64,
        /// Return value; 0 for a successful shmat.
        ret: i64,
        /// Key of shmget, id of shmat.
        id: i32,
        /// Flags.
        flags: u32,
        /// IPC namespace of the caller.
        ipc_ns: u32,
        /// Zero.
        pad: u32,
    }

    /// Written on request: all that came before it in the ring happened before it.
    Fence = 80; {
        /// Begins the record.
        header: Header,
        /// Given by who asked.
        cookie: u64,
    }
}

impl NsInodes {
    /// No namespace known.
    pub const NONE: Self = Self {
        mnt: 0,
        uts: 0,
        ipc: 0,
        net: 0,
        pid_for_children: 0,
        cgroup: 0,
        user: 0,
        time: 0,
        time_for_children: 0,
        pid: 0,
    };
}
