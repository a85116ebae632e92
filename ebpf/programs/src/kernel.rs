//! Reads of kernel structs.

use aya_ebpf::helpers::{bpf_get_current_task_btf, bpf_probe_read_kernel};
use podproof_abi::{MAX_LEVELS, MISSING, NsInodes, TaskId, TaskView};

/// A `task_struct`, as the verifier's BTF pointer.
pub(crate) type Task = usize;

/// The offset of a field.
macro_rules! off {
    ($field:ident) => {
        // SAFETY: OFFS is a valid static; volatile, because the loader replaces it after the compiler saw it.
        unsafe { core::ptr::read_volatile(&raw const $crate::OFFS.$field) }
    };
}
pub(crate) use off;

/// A part of what the programs are to do.
macro_rules! mode {
    ($field:ident) => {
        // SAFETY: MODE is a valid static; volatile, because the loader replaces it after the compiler saw it.
        unsafe { core::ptr::read_volatile(&raw const $crate::MODE.$field) }
    };
}
pub(crate) use mode;

/// Whether records are written for open scopes.
#[inline(always)]
pub(crate) fn writes_events() -> bool {
    mode!(events) != 0
}

/// Whether counters are kept.
#[inline(always)]
pub(crate) fn keeps_counters() -> bool {
    mode!(counters) != 0
}

/// Reads `T` at `offset` of the kernel object at `p`.
#[inline(always)]
pub(crate) fn rd<T: Copy>(p: usize, offset: u32) -> T {
    // SAFETY: the verifier admits this load only for a pointer with BTF type and a field at that offset; a fault
    // of such a load reads as zero.
    unsafe { core::ptr::read_volatile((p + offset as usize) as *const T) }
}

/// The current task.
#[inline(always)]
pub(crate) fn current() -> Task {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task_btf() as usize }
}

/// Whether a system call that returns this to the kernel's entry will be begun again, with nothing done (`ERESTARTSYS` to
/// `ERESTART_RESTARTBLOCK`).
#[inline(always)]
pub(crate) fn begins_again(ret: i64) -> bool {
    (-516..=-512).contains(&ret)
}

/// Copies `T` from any kernel address; `None` when it is not readable.
#[inline(always)]
pub(crate) fn probe<T: Copy>(p: usize) -> Option<T> {
    // SAFETY: the helper checks the address itself and returns an error for a bad one.
    unsafe { bpf_probe_read_kernel(p as *const T) }.ok()
}

/// Identity of a task.
#[inline(always)]
pub(crate) fn task_id(task: Task) -> TaskId {
    TaskId {
        tid: rd(task, off!(task_pid)),
        tgid: rd(task, off!(task_tgid)),
        start_ns: rd(task, off!(task_start)),
    }
}

/// Id of the task's cgroup in the v2 hierarchy.
#[inline(always)]
pub(crate) fn cgroup_id(task: Task) -> u64 {
    let css_set: usize = rd(task, off!(task_cgroups));
    let cgroup: usize = rd(css_set, off!(css_set_dfl_cgrp));
    id_of_cgroup(cgroup)
}

/// Id of a cgroup.
#[inline(always)]
pub(crate) fn id_of_cgroup(cgroup: usize) -> u64 {
    let kn: usize = rd(cgroup, off!(cgroup_kn));
    rd(kn, off!(kernfs_id))
}

/// `struct upid`; the loader checks this layout.
#[repr(C)]
#[derive(Clone, Copy)]
struct Upid {
    nr: u32,
    pad: u32,
    ns: usize,
}

/// Nesting of the task's pid namespace, or `None` for a task that has no `thread_pid` left or is nested too deep
/// for a record.
#[inline(always)]
pub(crate) fn level(task: Task) -> Option<u32> {
    let pid: usize = rd(task, off!(task_thread_pid));
    if pid == 0 {
        return None;
    }
    let level: u32 = rd(pid, off!(pid_level));
    (level < MAX_LEVELS as u32).then_some(level)
}

/// Number and pid namespace of the task at one level, zeros when it is not that deep.
#[inline(always)]
pub(crate) fn number_at(task: Task, level: u32) -> (u32, u32) {
    let pid: usize = rd(task, off!(task_thread_pid));
    if pid == 0 || rd::<u32>(pid, off!(pid_level)) < level {
        return (0, 0);
    }
    if level == 0 {
        return (rd(task, off!(task_pid)), mode!(host_pid_ns));
    }
    // The mask is for the verifier of 6.1, which wants the product to be bounded.
    let upid = pid + off!(pid_numbers) as usize + (((level & 31) as usize) << 4);
    match probe::<Upid>(upid) {
        Some(upid) => (upid.nr, probe(upid.ns + off!(pid_ns_inum) as usize).unwrap_or(0)),
        None => (0, 0),
    }
}

/// Whether the task leads PID 1 of a pid namespace below the initial one.
#[inline(always)]
pub(crate) fn is_init(leader: Task) -> bool {
    let pid: usize = rd(leader, off!(task_thread_pid));
    if pid == 0 {
        return false;
    }
    let level: u32 = rd(pid, off!(pid_level));
    level > 0 && number_at(leader, level).0 == 1
}

/// Whether the process adopts orphans (`PR_SET_CHILD_SUBREAPER`, prctl(2)).
#[inline(always)]
pub(crate) fn is_subreaper(task: Task) -> bool {
    let bit = off!(signal_is_subreaper_bit);
    if bit == MISSING {
        return false;
    }
    let signal: usize = rd(task, off!(task_signal));
    // The verifier knows no bit-fields.
    probe::<u8>(signal + (bit >> 3) as usize).is_some_and(|byte| byte >> (bit & 7) & 1 != 0)
}

/// Fills in the task's number at each level and, if wanted, the pid namespace there. `nr` is zeroed already.
#[inline(always)]
pub(crate) fn numbers(task: Task, nr: *mut u32, pid_ns: Option<*mut u32>) {
    let pid: usize = rd(task, off!(task_thread_pid));
    if pid == 0 {
        return;
    }
    let level: u32 = rd(pid, off!(pid_level));
    // The outermost number is the task's own, so most tasks need no look into the array.
    let (tid, host): (u32, u32) = (rd(task, off!(task_pid)), mode!(host_pid_ns));
    // SAFETY: both arrays have MAX_LEVELS members.
    unsafe { nr.write(tid) };
    if let Some(pid_ns) = pid_ns {
        // SAFETY: as above.
        unsafe { pid_ns.write(host) };
    }
    let base = pid + off!(pid_numbers) as usize;
    let mut i = 1usize;
    while i < MAX_LEVELS {
        if i as u32 > level {
            break;
        }
        if let Some(upid) = probe::<Upid>(base + (i << 4)) {
            // SAFETY: i is below MAX_LEVELS, the length of both arrays.
            unsafe { nr.add(i).write(upid.nr) };
            if let Some(pid_ns) = pid_ns {
                let inum = probe(upid.ns + off!(pid_ns_inum) as usize).unwrap_or(0);
                // SAFETY: as above.
                unsafe { pid_ns.add(i).write(inum) };
            }
        }
        i += 1;
    }
}

/// Fills in the task's namespaces; those that the kernel lacks stay 0. `pid` is left to [`view`].
#[inline(always)]
pub(crate) fn namespaces(task: Task, out: &mut NsInodes) {
    let cred: usize = rd(task, off!(task_real_cred));
    let user: usize = rd(cred, off!(cred_user_ns));
    out.user = rd(user, off!(user_inum));
    let nsproxy: usize = rd(task, off!(task_nsproxy));
    if nsproxy == 0 {
        return;
    }
    out.mnt = rd(rd(nsproxy, off!(nsproxy_mnt)), off!(mnt_inum));
    out.uts = rd(rd(nsproxy, off!(nsproxy_uts)), off!(uts_inum));
    out.ipc = rd(rd(nsproxy, off!(nsproxy_ipc)), off!(ipc_inum));
    out.net = rd(rd(nsproxy, off!(nsproxy_net)), off!(net_inum));
    out.pid_for_children = rd(rd(nsproxy, off!(nsproxy_pid_for_children)), off!(pid_ns_inum));
    out.cgroup = rd(rd(nsproxy, off!(nsproxy_cgroup)), off!(cgroup_inum));
    if off!(time_inum) != MISSING
        && off!(nsproxy_time) != MISSING
        && off!(nsproxy_time_for_children) != MISSING
    {
        out.time = rd(rd(nsproxy, off!(nsproxy_time)), off!(time_inum));
        out.time_for_children = rd(rd(nsproxy, off!(nsproxy_time_for_children)), off!(time_inum));
    }
}

/// All namespaces of the current task, for the record of a system call.
#[inline(always)]
pub(crate) fn current_namespaces(task: Task, out: &mut NsInodes) {
    namespaces(task, out);
    let pid: usize = rd(task, off!(task_thread_pid));
    let level: u32 = rd(pid, off!(pid_level));
    out.pid = number_at(task, level).1;
}

/// Fills in everything about a task that still has its pid. `out` is zeroed already.
#[inline(always)]
pub(crate) fn view(task: Task, level: u32, out: &mut TaskView) {
    out.task = task_id(task);
    let parent: usize = rd(task, off!(task_real_parent));
    let leader: usize = rd(parent, off!(task_group_leader));
    out.parent = task_id(leader);
    let parent_pid: usize = rd(leader, off!(task_thread_pid));
    if parent_pid != 0 {
        out.parent_pid_ns = number_at(leader, rd(parent_pid, off!(pid_level))).1;
    }
    out.cgroup_id = cgroup_id(task);
    out.level = level;
    out.exit_signal = rd(task, off!(task_exit_signal));
    numbers(task, (&raw mut out.nr).cast(), Some((&raw mut out.pid_ns).cast()));
    namespaces(task, &mut out.ns);
    // SAFETY: level() admits only levels below MAX_LEVELS; the mask shows that to the verifier.
    out.ns.pid = unsafe { (&raw const out.pid_ns).cast::<u32>().add((level & 7) as usize).read() };
}
