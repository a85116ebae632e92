//! Birth, exec, end and release of tasks.

use core::ffi::c_void;
use core::mem::offset_of;

use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_probe_read_kernel_str_bytes};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use podproof_abi::{
    Counter, Exec, Exit, Free, MAX_LEVELS, MISSING, N_NS, NS_FLAGS, NS_MASK, NewTask, Orphan, START_TICK_NS,
    kind, ns_call,
};

use crate::count::{Counting, count_flags};
use crate::emit::{emit, emit_strings};
use crate::kernel::{
    Task, cgroup_id, is_init, is_subreaper, keeps_counters, level, number_at, off, probe, rd, task_id, view,
    writes_events,
};
use crate::log::log;
use crate::maps::{DYING, ENDING, TAGS};
use crate::orphans;
use crate::scope::{self, Scopes};

const CLONE_THREAD: u64 = 0x1_0000;
/// `SIGNAL_GROUP_EXIT` in `signal_struct.flags`.
const SIGNAL_GROUP_EXIT: u32 = 4;
/// Rounds of the walk through the children of a process that ends: all that bpf_loop() makes (`BPF_MAX_LOOPS`), which is twice as many as
/// there can be tasks (`PID_MAX_LIMIT`).
const MAX_ROUNDS: u32 = 1 << 23;

/// `task_newtask(task, clone_flags)`: a task exists and has not run. `current` called clone.
#[btf_tracepoint(function = "task_newtask")]
pub(crate) fn task_newtask(ctx: BtfTracePointContext) -> u32 {
    let child: usize = ctx.arg(0);
    let flags: u64 = ctx.arg(1);
    if keeps_counters() {
        count_birth(child, flags);
    }
    if writes_events() {
        show_birth(child, flags);
    }
    0
}

#[inline(always)]
fn count_birth(child: Task, flags: u64) {
    let counting = Counting::of_task(child);
    counting.count(if flags & CLONE_THREAD == 0 { Counter::ForksProcess } else { Counter::ForksThread });
    if flags & NS_MASK != 0 {
        // SAFETY: the helper has no preconditions.
        count_namespaces(
            Counting::of(unsafe { bpf_get_current_cgroup_id() }),
            Counter::NsClonedCgroup,
            flags,
        );
        count_flags(ns_call::CLONE, flags);
    }
}

/// Adds one for each type of namespace in `flags`, from the counter `first` on.
#[inline(always)]
pub(crate) fn count_namespaces(counting: Counting, first: Counter, flags: u64) {
    let mut i = 0;
    while i < N_NS {
        if flags & NS_FLAGS[i] != 0 {
            counting.count_in::<{ N_NS as u32 }>(first, i as u32);
        }
        i += 1;
    }
}

#[inline(always)]
fn show_birth(child: Task, flags: u64) {
    let mut scope = scope::of_current();
    if flags & CLONE_THREAD == 0 {
        let id = task_id(child);
        if scope == 0 {
            scope = scope::of_cgroup(cgroup_id(child));
        }
        if scope != 0 {
            scope::tag(id.tgid, scope, id.start_ns);
        } else if TAGS.get_ptr(id.tgid).is_some() {
            // The number came back before its last owner was freed.
            _ = TAGS.remove(id.tgid);
        }
    }
    let Some(scopes) = Scopes::of(scope, 0) else { return };
    log!(born(scope, rd(child, off!(task_tgid)), rd(child, off!(task_pid))));
    let Some(level) = level(child) else {
        scopes.lose();
        return;
    };
    emit::<NewTask>(scopes, kind::NEW_TASK, |record| {
        view(child, level, &mut record.child);
        record.flags = flags;
    });
}

/// `sched_process_exec(task, old_pid, bprm)`: the new program's credentials are committed. The task is the current one.
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn sched_process_exec(ctx: BtfTracePointContext) -> u32 {
    if keeps_counters() {
        // SAFETY: the helper has no preconditions.
        Counting::of(unsafe { bpf_get_current_cgroup_id() }).count(Counter::Execs);
    }
    if !writes_events() {
        return 0;
    }
    let task: usize = ctx.arg(0);
    let Some(scopes) = Scopes::of(scope::of_current(), 0) else { return 0 };
    let Some(level) = level(task) else {
        scopes.lose();
        return 0;
    };
    log!(executed(scopes.scope, rd(task, off!(task_tgid))));
    let old_tid: u32 = ctx.arg(1);
    let bprm: usize = ctx.arg(2);
    emit_strings::<Exec>(scopes, kind::EXEC, offset_of!(Exec, filename), |record| {
        view(task, level, &mut record.task);
        record.old_tid = old_tid;
        let cred: usize = rd(task, off!(task_real_cred));
        record.euid = rd(cred, off!(cred_euid));
        record.egid = rd(cred, off!(cred_egid));
        record.caps[0] = rd(cred, off!(cred_cap_inheritable));
        record.caps[1] = rd(cred, off!(cred_cap_permitted));
        record.caps[2] = rd(cred, off!(cred_cap_effective));
        record.caps[3] = rd(cred, off!(cred_cap_bset));
        record.caps[4] = rd(cred, off!(cred_cap_ambient));
        // PFA_NO_NEW_PRIVS is bit 0.
        record.no_new_privs = (rd::<u64>(task, off!(task_atomic_flags)) & 1) as u32;
        if off!(task_seccomp_mode) != MISSING {
            record.seccomp_mode = rd(task, off!(task_seccomp_mode));
        }
        root(task, record);
        let filename: usize = rd(bprm, off!(binprm_filename));
        // SAFETY: the helper checks the address; the record's array bounds the copy.
        _ = unsafe { bpf_probe_read_kernel_str_bytes(filename as *const u8, &mut record.filename) };
    });
    0
}

/// The root directory of the task, where all of the structures on the way to it are known.
#[inline(always)]
fn root(task: Task, record: &mut Exec) {
    let known = off!(task_fs) != MISSING
        && off!(fs_root_mnt) != MISSING
        && off!(fs_root_dentry) != MISSING
        && off!(vfsmount_root) != MISSING
        && off!(vfsmount_sb) != MISSING
        && off!(mount_mnt) != MISSING
        && off!(mount_id) != MISSING
        && off!(super_dev) != MISSING;
    if !known {
        return;
    }
    let fs: usize = rd(task, off!(task_fs));
    if fs == 0 {
        return;
    }
    let mnt: usize = rd(fs, off!(fs_root_mnt));
    let dentry: usize = rd(fs, off!(fs_root_dentry));
    // The mount is around its vfsmount, which the verifier does not know.
    let Some(id) = probe::<u32>((mnt + off!(mount_id) as usize).wrapping_sub(off!(mount_mnt) as usize))
    else {
        return;
    };
    record.has_root = 1;
    record.root_mount_id = id;
    record.root_is_mount_root = u32::from(rd::<usize>(mnt, off!(vfsmount_root)) == dentry);
    let sb: usize = rd(mnt, off!(vfsmount_sb));
    record.root_dev = rd(sb, off!(super_dev));
}

/// `sched_process_exit(task[, group_dead])`, per thread; namespaces, cgroup and parent are still set. The task is the
/// current one.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn sched_process_exit(ctx: BtfTracePointContext) -> u32 {
    let task: usize = ctx.arg(0);
    let signal: usize = rd(task, off!(task_signal));
    // Of threads that end together each still has its own children.
    if keeps_counters() && is_group_ending(signal) {
        mark_orphans(task);
    }
    let scopes = if writes_events() { Scopes::of(scope::of_current(), 0) } else { None };
    if !keeps_counters() && scopes.is_none() {
        return 0;
    }
    let group_dead = if off!(exit_has_group_dead) != 0 {
        ctx.arg::<u64>(1) & 0xff != 0
    } else {
        is_last_of_group(task, signal)
    };
    if keeps_counters() && group_dead {
        count_end(task, signal);
    }
    if let Some(scopes) = scopes {
        show_end(scopes, task, signal, group_dead);
    }
    0
}

/// Whether no thread of the group lives on. All threads that end together see the count at 0: of several the first
/// to be here is taken.
#[inline(always)]
fn is_last_of_group(task: Task, signal: usize) -> bool {
    if rd::<u32>(signal, off!(signal_live)) != 0 {
        return false;
    }
    let leader: usize = rd(task, off!(task_group_leader));
    let key = [rd::<u64>(leader, off!(task_start)), u64::from(rd::<u32>(task, off!(task_tgid)))];
    if rd::<u32>(signal, off!(signal_nr_threads)) == 1 {
        // All others have been here and are released.
        return ENDING.get_ptr(key).is_none();
    }
    const BPF_NOEXIST: u64 = 1;
    ENDING.insert(key, 1, BPF_NOEXIST).is_ok()
}

/// Whether all threads of the group are about to end, or have ended.
#[inline(always)]
fn is_group_ending(signal: usize) -> bool {
    rd::<u32>(signal, off!(signal_flags)) & SIGNAL_GROUP_EXIT != 0
        || rd::<u32>(signal, off!(signal_live)) == 0
}

/// Wait status of a task that ends.
#[inline(always)]
fn status(task: Task, signal: usize) -> u32 {
    // Both are read before one is chosen: the compiler would otherwise choose between the two addresses, which
    // the verifier cannot follow.
    let of_group: u32 = rd(signal, off!(signal_group_exit_code));
    let of_task: u32 = rd(task, off!(task_exit_code));
    let is_group_exit = rd::<u32>(signal, off!(signal_flags)) & SIGNAL_GROUP_EXIT != 0;
    if is_group_exit { of_group } else { of_task }
}

/// Whether the OOM killer had chosen the process; false where the kernel's structures do not tell.
#[inline(always)]
pub(crate) fn is_oom_victim(signal: usize) -> bool {
    off!(signal_oom_mm) != MISSING && rd::<usize>(signal, off!(signal_oom_mm)) != 0
}

#[inline(always)]
fn count_end(task: Task, signal: usize) {
    let counting = Counting::of_task(task);
    let status = status(task, signal);
    let reason = if is_oom_victim(signal) {
        3
    } else if status & 0x7f != 0 {
        2
    } else if status != 0 {
        1
    } else {
        0
    };
    counting.count_in::<4>(Counter::ExitsSuccess, reason);
    let leader: usize = rd(task, off!(task_group_leader));
    let pid: usize = rd(leader, off!(task_thread_pid));
    if pid != 0 {
        let level: u32 = rd(pid, off!(pid_level));
        if level > 0 {
            if is_init(leader) {
                counting.count_in::<4>(Counter::InitExitsSuccess, reason);
            }
            if status & 0x7f == 9 && is_in_dying_ns(leader, level) {
                counting.count(Counter::NsKilled);
            }
        }
    }
    if orphans::are_known() {
        let tgid: u32 = rd(task, off!(task_tgid));
        if let Some(parent_before) = orphans::take(tgid, rd(leader, off!(task_start))) {
            count_orphan(counting, task, parent_before);
        }
    }
}

/// Whether PID 1 of the task's pid namespace, or of one around it, has ended.
#[inline(always)]
fn is_in_dying_ns(leader: Task, level: u32) -> bool {
    let mut i = 1u32;
    while i < MAX_LEVELS as u32 {
        if i > level {
            return false;
        }
        if DYING.get_ptr(number_at(leader, i).1).is_some() {
            return true;
        }
        i += 1;
    }
    false
}

/// By who is the parent of an orphan at its end. What PID 1 of a namespace takes with it dies before it is adopted.
#[inline(always)]
fn count_orphan(counting: Counting, task: Task, parent_before: u32) {
    let parent: usize = rd(task, off!(task_real_parent));
    let parent: usize = rd(parent, off!(task_group_leader));
    let tgid: u32 = rd(parent, off!(task_tgid));
    if tgid == parent_before {
        return;
    }
    let by = if tgid == 1 {
        2
    } else if is_init(parent) {
        if cgroup_id(parent) == cgroup_id(task) { 0 } else { 4 }
    } else if is_subreaper(parent) {
        1
    } else {
        3
    };
    counting.count_in::<5>(Counter::OrphansInit, by);
}

/// A walk through the children of a thread, which are a list that ends where it begins.
struct Walk {
    head: usize,
    next: usize,
    parent_tgid: u32,
}

/// The children of a thread whose process ends, those that live on, are orphans from here on.
#[inline(always)]
fn mark_orphans(task: Task) {
    let head = task + off!(task_children) as usize;
    if rd::<usize>(task, off!(task_children)) == head {
        return;
    }
    // A plain number, as those that follow: the verifier takes all rounds for one.
    let Some(next) = probe(head) else { return };
    let mut walk = Walk { head, next, parent_tgid: rd(task, off!(task_tgid)) };
    let round = mark_child as *const () as *mut c_void;
    // SAFETY: the function is of the kind that the helper calls, and what it is given outlives the call.
    unsafe { bpf_loop(MAX_ROUNDS, round, (&raw mut walk).cast(), 0) };
}

/// One round; whether it is the last one.
extern "C" fn mark_child(_round: u64, walk: *mut Walk) -> i64 {
    const GO_ON: i64 = 0;
    const STOP: i64 = 1;
    // SAFETY: what `mark_orphans` gave to the helper.
    let walk = unsafe { &mut *walk };
    let at = walk.next;
    if at == walk.head {
        return STOP;
    }
    let child = at.wrapping_sub(off!(task_sibling) as usize);
    let tgid: u32 = probe(child + off!(task_tgid) as usize).unwrap_or(0);
    let start_ns: u64 = probe(child + off!(task_start) as usize).unwrap_or(0);
    let is_dead = probe::<u32>(child + off!(task_exit_state) as usize).unwrap_or(1) != 0;
    if !is_dead {
        orphans::mark(tgid, Orphan { start_ns, parent_tgid: walk.parent_tgid, pad: 0 });
    }
    match probe::<usize>(at) {
        // A child that is reaped meanwhile is unlinked and points to itself.
        Some(after) if after != at => {
            walk.next = after;
            GO_ON
        }
        _ => STOP,
    }
}

#[inline(always)]
fn show_end(scopes: Scopes, task: Task, signal: usize, group_dead: bool) {
    log!(ended(scopes.scope, rd(task, off!(task_tgid)), rd(task, off!(task_pid)), status(task, signal)));
    let Some(level) = level(task) else {
        scopes.lose();
        return;
    };
    emit::<Exit>(scopes, kind::EXIT, |record| {
        view(task, level, &mut record.task);
        record.status = status(task, signal);
        record.group_dead = u32::from(group_dead);
        if off!(signal_oom_mm) != MISSING {
            record.has_oom = 1;
            record.oom = u32::from(is_oom_victim(signal));
        }
        if rd::<u32>(task, off!(task_ptrace)) != 0 {
            let tracer: usize = rd(task, off!(task_parent));
            record.tracer = task_id(rd(tracer, off!(task_group_leader)));
        }
    });
}

/// `sched_process_free(task)`: a grace period after the release; `current` is unrelated. Leaders only: the threads
/// of a group are released before its leader.
#[btf_tracepoint(function = "sched_process_free")]
pub(crate) fn sched_process_free(ctx: BtfTracePointContext) -> u32 {
    let task: usize = ctx.arg(0);
    let id = task_id(task);
    if id.tid != id.tgid {
        return 0;
    }
    let Some(tag) = TAGS.get_ptr(id.tgid) else { return 0 };
    // SAFETY: a value of a preallocated hash map stays readable.
    let tag = unsafe { *tag };
    if id.start_ns.wrapping_sub(tag.start_ns) >= START_TICK_NS {
        // The number belongs to a younger process already; its tag is not ours to use or to remove.
        return 0;
    }
    if let Some(scopes) = Scopes::of(scope::if_open(tag.scope), 0) {
        emit::<Free>(scopes, kind::FREE, |record| record.task = id);
    }
    _ = TAGS.remove(id.tgid);
    0
}
