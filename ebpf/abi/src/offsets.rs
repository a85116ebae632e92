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
            /// 1 when `mark_victim` passes a task, 0 when it passes only a number.
            pub victim_is_task: u32,
        }

        impl Offsets {
            /// No field known.
            pub const UNKNOWN: Self = Self { $($name: MISSING,)* exit_has_group_dead: 0, victim_is_task: 0 };

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
    task_syscall_status: "task_struct"."thread_info.status", 4, SYSCALL;
}
