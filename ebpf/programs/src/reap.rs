//! `release_task`, where fentry is allowed: the exact moment of a reap, and who did it.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns};
use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use podproof_abi::{Counter, Release, TaskId, ZOMBIE_BOUNDS_NS, kind, reaper};

use crate::count::Counting;
use crate::emit::emit;
use crate::kernel::{
    Task, cgroup_id, current, is_init, is_subreaper, keeps_counters, level, numbers, off, rd, task_id,
    writes_events,
};
use crate::maps::ZOMBIES;
use crate::orphans;
use crate::scope::{self, Scopes};
use crate::signal::handed_on;

/// `release_task(p)`: `current` is the reaper, or `p` itself when nobody waits for it. The end of a plain
/// thread, which nobody reaps, is left out; so is the old leader when a thread executes a program, because it
/// has the thread's number by then.
#[fentry(function = "release_task")]
pub(crate) fn release_task(ctx: FEntryContext) -> u32 {
    let task: usize = ctx.arg(0);
    let id = task_id(task);
    if id.tid != id.tgid {
        return 0;
    }
    released(task, id, role(task, id.tgid));
    0
}

#[inline(always)]
fn released(task: Task, id: TaskId, role: u32) {
    if keeps_counters() {
        count(task, id, role);
    }
    if !writes_events() {
        return;
    }
    let Some(scopes) = Scopes::of(scope::of_tgid(id.tgid), scope::of_current()) else { return };
    let Some(level) = level(task) else {
        scopes.lose();
        return;
    };
    emit::<Release>(scopes, kind::RELEASE, |record| {
        record.task = id;
        record.level = level;
        record.role = role;
        numbers(task, (&raw mut record.nr).cast(), None);
    });
}

/// `do_notify_parent(tsk, sig)` returns whether nobody waits for the process. When its leader had ended before its last
/// thread, the release of that thread goes on to the leader, and the leader's own is not seen. Another process tells of one that is dead
/// already: its parent, which ends and hands it on, or a tracer that has done with it.
#[fexit(function = "do_notify_parent")]
pub(crate) fn do_notify_parent(ctx: FExitContext) -> u32 {
    let leader: usize = ctx.arg(0);
    let nobody_waits = ctx.arg::<u64>(2) & 0xff != 0;
    let task = current();
    if rd::<u32>(leader, off!(task_tgid)) != rd::<u32>(task, off!(task_tgid)) {
        if keeps_counters() {
            handed_on(leader);
        }
        return 0;
    }
    // Otherwise the task ends itself, and is released by itself.
    let is_end_of_thread = leader != task;
    if nobody_waits && is_end_of_thread {
        released(leader, task_id(leader), reaper::AUTO_BY_THREAD);
    }
    0
}

/// What `current` is to the dead task. A tracer has been unlinked from it by now, so it is known only by being neither the
/// parent nor a process that ends itself: such a one hands its zombies on to a new parent, and those that the new
/// parent ignores are released by the kernel.
#[inline(always)]
fn role(task: Task, tgid: u32) -> u32 {
    const PF_EXITING: u32 = 4;
    let by = (bpf_get_current_pid_tgid() >> 32) as u32;
    if by == tgid {
        return reaper::AUTO;
    }
    let real_parent: usize = rd(task, off!(task_real_parent));
    if rd::<u32>(real_parent, off!(task_tgid)) == by {
        reaper::PARENT
    } else if rd::<u32>(current(), off!(task_flags)) & PF_EXITING == 0 {
        reaper::TRACER
    } else {
        reaper::AUTO
    }
}

#[inline(always)]
fn count(task: Task, id: TaskId, role: u32) {
    let own_cgroup = cgroup_id(task);
    let counting = Counting::of_task(task);
    let by = match role {
        reaper::AUTO | reaper::AUTO_BY_THREAD => 5,
        reaper::TRACER => 4,
        _ => {
            let leader: usize = rd(current(), off!(task_group_leader));
            if rd::<u32>(leader, off!(task_tgid)) == 1 {
                3
            } else if is_init(leader) {
                if cgroup_id(leader) == own_cgroup { 1 } else { 6 }
            } else if is_subreaper(leader) {
                if cgroup_id(leader) == own_cgroup { 2 } else { 7 }
            } else {
                0
            }
        }
    };
    counting.count_in::<8>(Counter::ReapsParent, by);
    if orphans::are_known() {
        _ = orphans::take(id.tgid, id.start_ns);
    }
    let Some(zombie) = ZOMBIES.get_ptr(id.tgid) else { return };
    // SAFETY: a map's value; nobody else writes it any more.
    let zombie = unsafe { *zombie };
    _ = ZOMBIES.remove(id.tgid);
    if zombie.start_ns != id.start_ns {
        return;
    }
    // SAFETY: the helper has no preconditions.
    let age = unsafe { bpf_ktime_get_boot_ns() }.saturating_sub(zombie.since_ns);
    counting.time::<9>(Counter::ZombieLe0, &ZOMBIE_BOUNDS_NS, Counter::ZombieSumNs, age);
}
