//! The OOM killer: its victims, and whose limit made it act.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{btf_tracepoint, fentry, fexit};
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, FExitContext};
use podproof_abi::{Counter, Oom, OomKill, kind, table};

use crate::count::{Counting, refused};
use crate::emit::emit;
use crate::kernel::{cgroup_id, id_of_cgroup, off, rd, task_id};
use crate::maps::OOM_KILLS;
use crate::scope::{self, Scopes};
use crate::task::is_oom_victim;

/// `oom_kill_process(oc, message)`: `current` ran out of memory. What is found is kept until the function returns.
#[fentry(function = "oom_kill_process")]
pub(crate) fn oom_kill_process(ctx: FEntryContext) -> u32 {
    let control: usize = ctx.arg(0);
    let memcg: usize = rd(control, off!(oom_memcg));
    let mut kill = OomKill { limit_cgroup_id: 0, constraint: rd(control, off!(oom_constraint)), pad: 0 };
    if memcg != 0 {
        kill.limit_cgroup_id = id_of_cgroup(rd(memcg, off!(memcg_cgroup)));
    }
    if let Err(error) = OOM_KILLS.insert(bpf_get_current_pid_tgid(), kill, 0) {
        refused(table::OOM_KILLS, error);
    }
    0
}

/// `oom_kill_process` returns.
#[fexit(function = "oom_kill_process")]
pub(crate) fn oom_kill_process_return(_ctx: FExitContext) -> u32 {
    _ = OOM_KILLS.remove(bpf_get_current_pid_tgid());
    0
}

/// `__oom_kill_process(victim, message)`: one of the victims, as a task on every kernel.
#[fentry(function = "__oom_kill_process")]
pub(crate) fn oom_kill_victim(ctx: FEntryContext) -> u32 {
    let victim: usize = ctx.arg(0);
    // With memory.oom.group the first victim comes once more with all others.
    if is_oom_victim(rd(victim, off!(task_signal))) {
        return 0;
    }
    if let Some(kill) = OOM_KILLS.get_ptr(bpf_get_current_pid_tgid()) {
        // SAFETY: a map's value; the key is this thread's own.
        let constraint = unsafe { (*kill).constraint };
        Counting::of(cgroup_id(victim)).count_in::<4>(Counter::OomKillsGlobal, constraint);
    }
    0
}

/// `mark_victim(task, uid)`, or `mark_victim(pid)` on older kernels. `current` is whoever ran out of memory.
#[btf_tracepoint(function = "mark_victim")]
pub(crate) fn mark_victim(ctx: BtfTracePointContext) -> u32 {
    let of_current = scope::of_current();
    if off!(victim_is_task) != 0 {
        let victim: usize = ctx.arg(0);
        let Some(scopes) = Scopes::of(scope::of_task(victim), of_current) else { return 0 };
        show(scopes, |record| {
            record.task = task_id(victim);
            record.cgroup_id = cgroup_id(victim);
        });
    } else {
        let tid: u32 = ctx.arg(0);
        let Some(scopes) = Scopes::of(scope::of_tgid(tid), of_current) else { return 0 };
        show(scopes, |record| record.task.tid = tid);
    }
    0
}

#[inline(always)]
fn show(scopes: Scopes, victim: impl FnOnce(&mut Oom)) {
    emit::<Oom>(scopes, kind::OOM, |record| {
        victim(record);
        if let Some(kill) = OOM_KILLS.get_ptr(bpf_get_current_pid_tgid()) {
            // SAFETY: a map's value; the key is this thread's own.
            let kill = unsafe { *kill };
            record.has_constraint = 1;
            record.constraint = kill.constraint;
            record.limit_cgroup_id = kill.limit_cgroup_id;
        }
    });
}
