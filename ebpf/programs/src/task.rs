//! Birth, exec, end and release of tasks.

use aya_ebpf::helpers::bpf_probe_read_kernel_str_bytes;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use podproof_abi::{Exec, Exit, Free, MISSING, NewTask, START_TICK_NS, kind};

use crate::emit::emit;
use crate::kernel::{cgroup_id, level, off, rd, task_id, view};
use crate::maps::TAGS;
use crate::scope::{self, Scopes, lose};

const CLONE_THREAD: u64 = 0x1_0000;
/// `SIGNAL_GROUP_EXIT` in `signal_struct.flags`.
const SIGNAL_GROUP_EXIT: u32 = 4;

/// `task_newtask(task, clone_flags)`: a task exists and has not run. `current` called clone.
#[btf_tracepoint(function = "task_newtask")]
pub(crate) fn task_newtask(ctx: BtfTracePointContext) -> u32 {
    let child: usize = ctx.arg(0);
    let flags: u64 = ctx.arg(1);
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
    let Some(scopes) = Scopes::of(scope, 0) else { return 0 };
    let Some(level) = level(child) else {
        lose(scope);
        return 0;
    };
    emit::<NewTask>(scopes, kind::NEW_TASK, |record| {
        view(child, level, &mut record.child);
        record.flags = flags;
    });
    0
}

/// `sched_process_exec(task, old_pid, bprm)`: the new program's credentials are committed.
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn sched_process_exec(ctx: BtfTracePointContext) -> u32 {
    let task: usize = ctx.arg(0);
    // The task is the current one.
    let Some(scopes) = Scopes::of(scope::of_current(), 0) else { return 0 };
    let Some(level) = level(task) else {
        lose(scopes.scope);
        return 0;
    };
    let old_tid: u32 = ctx.arg(1);
    let bprm: usize = ctx.arg(2);
    emit::<Exec>(scopes, kind::EXEC, |record| {
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
        let filename: usize = rd(bprm, off!(binprm_filename));
        // SAFETY: the helper checks the address; the record's array bounds the copy.
        _ = unsafe { bpf_probe_read_kernel_str_bytes(filename as *const u8, &mut record.filename) };
    });
    0
}

/// `sched_process_exit(task[, group_dead])`, per thread; namespaces, cgroup and parent are still set.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn sched_process_exit(ctx: BtfTracePointContext) -> u32 {
    let task: usize = ctx.arg(0);
    // The task is the current one.
    let Some(scopes) = Scopes::of(scope::of_current(), 0) else { return 0 };
    let Some(level) = level(task) else {
        lose(scopes.scope);
        return 0;
    };
    let signal: usize = rd(task, off!(task_signal));
    let group_dead: u32 = if off!(exit_has_group_dead) != 0 {
        u32::from(ctx.arg::<u64>(1) & 0xff != 0)
    } else {
        // All threads that end together see the count at 0.
        u32::from(rd::<u32>(signal, off!(signal_live)) == 0 && scope::claim_end(rd(task, off!(task_tgid))))
    };
    emit::<Exit>(scopes, kind::EXIT, |record| {
        view(task, level, &mut record.task);
        // Both are read before one is chosen: the compiler would otherwise choose between the two addresses, which
        // the verifier cannot follow.
        let of_group: u32 = rd(signal, off!(signal_group_exit_code));
        let of_task: u32 = rd(task, off!(task_exit_code));
        let is_group_exit = rd::<u32>(signal, off!(signal_flags)) & SIGNAL_GROUP_EXIT != 0;
        record.status = if is_group_exit { of_group } else { of_task };
        record.group_dead = group_dead;
    });
    0
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
    let start_ns = unsafe { (*tag).start_ns };
    if id.start_ns.wrapping_sub(start_ns) >= START_TICK_NS {
        // The number belongs to a younger process already; its tag is not ours to use or to remove.
        return 0;
    }
    if let Some(scopes) = Scopes::of(scope::of_tgid(id.tgid), 0) {
        emit::<Free>(scopes, kind::FREE, |record| record.task = id);
    }
    _ = TAGS.remove(id.tgid);
    0
}
