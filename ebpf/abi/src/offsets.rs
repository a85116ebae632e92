//! Where the running kernel keeps the fields that the programs read.
//!
//! Rust BPF programs have no CO-RE relocations, so the loader looks each field up in the kernel's BTF and hands the
//! table to the programs as a constant. One macro names each field once: as a member of [`Offsets`] and,
//! for the loader, as a row of `Offsets::FIELDS`.

/// The value of an offset that this kernel does not have.
pub const MISSING: u32 = u32::MAX;

/// Groups of fields; a program is loaded only when every field of the groups that it needs was found.
pub mod need {
    /// Read by every program: identity, namespaces, cgroup.
    pub const TASK: u32 = 1;
    /// Wait status and the last thread of a group.
    pub const EXIT: u32 = 1 << 1;
    /// Credentials and the path of an exec.
    pub const EXEC: u32 = 1 << 2;
    /// `siginfo` and the action of a signal.
    pub const SIGNAL: u32 = 1 << 3;
    /// Hierarchy and parent of a cgroup.
    pub const CGROUP: u32 = 1 << 4;
    /// Registers at a system call.
    pub const SYSCALL: u32 = 1 << 5;
    /// The OOM killer's own structure.
    pub const OOM: u32 = 1 << 6;
    /// The options of a wait.
    pub const WAIT: u32 = 1 << 7;
    /// The arguments of a clone.
    pub const CLONE: u32 = 1 << 8;
    /// Run queues and CPU bandwidth.
    pub const CPU: u32 = 1 << 9;
    /// Nothing breaks without it: the value is absent from the records.
    pub const OPTIONAL: u32 = 0;
}

/// One field to look up.
#[cfg(feature = "user")]
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The struct to start from.
    pub owner: &'static str,
    /// Members from there, joined by dots.
    pub path: &'static str,
    /// Largest size in bytes that the programs read there.
    pub size: u32,
    /// The group that it belongs to ([`need`]).
    pub need: u32,
}

macro_rules! offsets {
    ($($name:ident: $owner:literal . $path:literal, $size:literal, $need:ident;)*) => {
        /// Byte offsets, each [`MISSING`] where the kernel lacks the field; then facts about prototypes.
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        #[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
        pub struct Offsets {
            $(#[doc = concat!("`", $owner, ".", $path, "`")] pub $name: u32,)*
            /// 1 when `sched_process_exit` has its second argument, `group_dead`.
            pub exit_has_group_dead: u32,
            /// Byte and bit of `signal_struct.is_child_subreaper`: byte offset times 8 plus the bit.
            pub signal_is_subreaper_bit: u32,
            /// 1 when `mark_victim` passes a task, 0 when it passes only a number.
            pub victim_is_task: u32,
        }

        impl Offsets {
            /// No field known.
            pub const UNKNOWN: Self = Self {
                $($name: MISSING,)*
                exit_has_group_dead: 0,
                signal_is_subreaper_bit: MISSING,
                victim_is_task: 0,
            };

            /// The fields to look up, in the order of the members.
            #[cfg(feature = "user")]
            pub const FIELDS: &[Field] = &[
                $(Field { owner: $owner, path: $path, size: $size, need: need::$need },)*
            ];
        }
    };
}

offsets! {
    task_pid: "task_struct"."pid", 4, TASK;
    task_tgid: "task_struct"."tgid", 4, TASK;
    task_start: "task_struct"."start_boottime", 8, TASK;
    task_group_leader: "task_struct"."group_leader", 8, TASK;
    task_real_parent: "task_struct"."real_parent", 8, TASK;
    task_thread_pid: "task_struct"."thread_pid", 8, TASK;
    task_nsproxy: "task_struct"."nsproxy", 8, TASK;
    task_real_cred: "task_struct"."real_cred", 8, TASK;
    task_cgroups: "task_struct"."cgroups", 8, TASK;
    task_exit_signal: "task_struct"."exit_signal", 4, TASK;
    task_flags: "task_struct"."flags", 4, TASK;
    task_parent: "task_struct"."parent", 8, TASK;
    task_ptrace: "task_struct"."ptrace", 4, TASK;
    pid_level: "pid"."level", 4, TASK;
    pid_numbers: "pid"."numbers", 0, TASK;
    nsproxy_uts: "nsproxy"."uts_ns", 8, TASK;
    nsproxy_ipc: "nsproxy"."ipc_ns", 8, TASK;
    nsproxy_mnt: "nsproxy"."mnt_ns", 8, TASK;
    nsproxy_pid_for_children: "nsproxy"."pid_ns_for_children", 8, TASK;
    nsproxy_net: "nsproxy"."net_ns", 8, TASK;
    nsproxy_cgroup: "nsproxy"."cgroup_ns", 8, TASK;
    nsproxy_time: "nsproxy"."time_ns", 8, OPTIONAL;
    nsproxy_time_for_children: "nsproxy"."time_ns_for_children", 8, OPTIONAL;
    uts_inum: "uts_namespace"."ns.inum", 4, TASK;
    ipc_inum: "ipc_namespace"."ns.inum", 4, TASK;
    mnt_inum: "mnt_namespace"."ns.inum", 4, TASK;
    pid_ns_inum: "pid_namespace"."ns.inum", 4, TASK;
    net_inum: "net"."ns.inum", 4, TASK;
    cgroup_inum: "cgroup_namespace"."ns.inum", 4, TASK;
    user_inum: "user_namespace"."ns.inum", 4, TASK;
    time_inum: "time_namespace"."ns.inum", 4, OPTIONAL;
    cred_user_ns: "cred"."user_ns", 8, TASK;
    css_set_dfl_cgrp: "css_set"."dfl_cgrp", 8, TASK;
    cgroup_kn: "cgroup"."kn", 8, TASK;
    kernfs_id: "kernfs_node"."id", 8, TASK;

    task_exit_code: "task_struct"."exit_code", 4, EXIT;
    task_signal: "task_struct"."signal", 8, EXIT;
    signal_live: "signal_struct"."live.counter", 4, EXIT;
    signal_flags: "signal_struct"."flags", 4, EXIT;
    signal_group_exit_code: "signal_struct"."group_exit_code", 4, EXIT;
    signal_nr_threads: "signal_struct"."nr_threads", 4, EXIT;
    signal_oom_mm: "signal_struct"."oom_mm", 8, OPTIONAL;
    task_exit_state: "task_struct"."exit_state", 4, EXIT;
    task_children: "task_struct"."children", 8, EXIT;
    task_sibling: "task_struct"."sibling", 8, EXIT;

    binprm_filename: "linux_binprm"."filename", 8, EXEC;
    cred_euid: "cred"."euid.val", 4, EXEC;
    cred_egid: "cred"."egid.val", 4, EXEC;
    cred_cap_inheritable: "cred"."cap_inheritable", 8, EXEC;
    cred_cap_permitted: "cred"."cap_permitted", 8, EXEC;
    cred_cap_effective: "cred"."cap_effective", 8, EXEC;
    cred_cap_bset: "cred"."cap_bset", 8, EXEC;
    cred_cap_ambient: "cred"."cap_ambient", 8, EXEC;
    task_atomic_flags: "task_struct"."atomic_flags", 8, EXEC;
    task_seccomp_mode: "task_struct"."seccomp.mode", 4, OPTIONAL;
    task_fs: "task_struct"."fs", 8, OPTIONAL;
    fs_root_mnt: "fs_struct"."root.mnt", 8, OPTIONAL;
    fs_root_dentry: "fs_struct"."root.dentry", 8, OPTIONAL;
    vfsmount_root: "vfsmount"."mnt_root", 8, OPTIONAL;
    vfsmount_sb: "vfsmount"."mnt_sb", 8, OPTIONAL;
    mount_mnt: "mount"."mnt", 0, OPTIONAL;
    mount_id: "mount"."mnt_id", 4, OPTIONAL;
    super_dev: "super_block"."s_dev", 4, OPTIONAL;

    siginfo_code: "kernel_siginfo"."si_code", 4, SIGNAL;
    siginfo_chld_pid: "kernel_siginfo"."_sifields._sigchld._pid", 4, SIGNAL;
    sigaction_handler: "k_sigaction"."sa.sa_handler", 8, SIGNAL;

    cgroup_root: "cgroup"."root", 8, CGROUP;
    cgroup_root_hierarchy: "cgroup_root"."hierarchy_id", 4, CGROUP;
    cgroup_self_parent: "cgroup"."self.parent", 8, CGROUP;
    css_cgroup: "cgroup_subsys_state"."cgroup", 8, CGROUP;

    regs_nr: "pt_regs"."orig_ax", 8, SYSCALL;
    regs_arg0: "pt_regs"."di", 8, SYSCALL;
    regs_arg1: "pt_regs"."si", 8, SYSCALL;
    regs_arg2: "pt_regs"."dx", 8, SYSCALL;
    regs_arg3: "pt_regs"."r10", 8, SYSCALL;
    regs_arg4: "pt_regs"."r8", 8, SYSCALL;
    task_syscall_status: "task_struct"."thread_info.status", 4, SYSCALL;

    oom_memcg: "oom_control"."memcg", 8, OOM;
    oom_constraint: "oom_control"."constraint", 4, OOM;
    memcg_cgroup: "mem_cgroup"."css.cgroup", 8, OOM;

    wait_flags: "wait_opts"."wo_flags", 4, WAIT;
    wait_stat: "wait_opts"."wo_stat", 4, WAIT;
    wait_info: "wait_opts"."wo_info", 8, WAIT;
    waitid_cause: "waitid_info"."cause", 4, WAIT;

    clone_args_flags: "kernel_clone_args"."flags", 8, CLONE;

    cfs_rq_tg: "cfs_rq"."tg", 8, CPU;
    cfs_rq_rq: "cfs_rq"."rq", 8, CPU;
    cfs_rq_throttled: "cfs_rq"."throttled", 4, OPTIONAL;
    cfs_rq_throttled_clock: "cfs_rq"."throttled_clock", 8, CPU;
    rq_clock: "rq"."clock", 8, CPU;
    task_group_cgroup: "task_group"."css.cgroup", 8, CPU;

    task_files: "task_struct"."files", 8, OPTIONAL;
    files_fdt: "files_struct"."fdt", 8, OPTIONAL;
    fdtable_max: "fdtable"."max_fds", 4, OPTIONAL;
    fdtable_fd: "fdtable"."fd", 8, OPTIONAL;
    file_inode: "file"."f_inode", 8, OPTIONAL;
    inode_sb: "inode"."i_sb", 8, OPTIONAL;
    inode_private: "inode"."i_private", 8, OPTIONAL;
    super_magic: "super_block"."s_magic", 8, OPTIONAL;
    kernfs_name: "kernfs_node"."name", 8, OPTIONAL;
    kernfs_parent: "kernfs_node"."parent", 8, OPTIONAL;
    kernfs_rcu_parent: "kernfs_node"."__parent", 8, OPTIONAL;
}
