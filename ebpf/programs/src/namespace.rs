//! Namespaces made, joined and refused, counted where fentry and fexit are allowed; and how long a pid namespace takes to end.

use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid};
use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use podproof_abi::{Counter, N_NS, NS_FLAGS, NS_MASK, NsInodes, ns_call, table};

use crate::count::{Counting, count_flags, refused};
use crate::kernel::{begins_again, current, current_namespaces, mode, off, rd};
use crate::maps::{DYING, JOINING};
use crate::task::count_namespaces;

const EPERM: i64 = -1;
const EAGAIN: i64 = -11;
const ENOMEM: i64 = -12;
const EINVAL: i64 = -22;
const ENOSPC: i64 = -28;

#[inline(always)]
fn of_caller() -> Counting {
    // SAFETY: the helper has no preconditions.
    Counting::of(unsafe { bpf_get_current_cgroup_id() })
}

/// Place of an error in the ranges of refused namespace operations.
#[inline(always)]
fn refusal(ret: i64) -> u32 {
    match ret {
        EPERM => 0,
        EINVAL => 1,
        ENOSPC => 2,
        _ => 3,
    }
}

/// `copy_process(pid, trace, node, args)` returns a task, or an error in its place. A caller with a signal to take is sent to take it,
/// and then calls again: nothing was refused.
#[fexit(function = "copy_process")]
pub(crate) fn copy_process(ctx: FExitContext) -> u32 {
    const MAX_ERRNO: i64 = 4095;
    let ret: i64 = ctx.arg(4);
    if !(-MAX_ERRNO..0).contains(&ret) || begins_again(ret) {
        return 0;
    }
    let counting = of_caller();
    let errno = match ret {
        EAGAIN => 0,
        ENOMEM => 1,
        EPERM => 2,
        _ => 3,
    };
    counting.count_in::<4>(Counter::ForkFailuresEagain, errno);
    let args: usize = ctx.arg(3);
    if rd::<u64>(args, off!(clone_args_flags)) & NS_MASK != 0 {
        counting.count_in::<4>(Counter::NsCloneEperm, refusal(ret));
    }
    0
}

/// `ksys_unshare(flags)` returns.
#[fexit(function = "ksys_unshare")]
pub(crate) fn ksys_unshare(ctx: FExitContext) -> u32 {
    let flags: u64 = ctx.arg(0);
    // The C function returns an int, whose upper half in the register is undefined.
    let ret = i64::from(ctx.arg::<i32>(1));
    if flags & NS_MASK == 0 {
        return 0;
    }
    let counting = of_caller();
    if ret == 0 {
        count_namespaces(counting, Counter::NsUnsharedCgroup, flags);
        count_flags(ns_call::UNSHARE, flags);
    } else {
        counting.count_in::<4>(Counter::NsUnshareEperm, refusal(ret));
    }
    0
}

/// setns(2) begins.
#[fentry(function = "__x64_sys_setns")]
pub(crate) fn setns(_ctx: FEntryContext) -> u32 {
    note_before();
    0
}

/// setns(2) begins, by the 32-bit entry, which a 64-bit program can take too.
#[fentry(function = "__ia32_sys_setns")]
pub(crate) fn setns_compat(_ctx: FEntryContext) -> u32 {
    note_before();
    0
}

#[inline(always)]
fn note_before() {
    let mut before = NsInodes::NONE;
    current_namespaces(current(), &mut before);
    if let Err(error) = JOINING.insert(bpf_get_current_pid_tgid(), before, 0) {
        refused(table::JOINING, error);
    }
}

/// setns(2) returns.
#[fexit(function = "__x64_sys_setns")]
pub(crate) fn setns_return(ctx: FExitContext) -> u32 {
    count_joined(ctx.arg(1));
    0
}

/// setns(2) returns, by the 32-bit entry.
#[fexit(function = "__ia32_sys_setns")]
pub(crate) fn setns_compat_return(ctx: FExitContext) -> u32 {
    count_joined(ctx.arg(1));
    0
}

/// Whatever differs was joined, whichever way it was asked for.
#[inline(always)]
fn count_joined(ret: i64) {
    let key = bpf_get_current_pid_tgid();
    let Some(before) = JOINING.get_ptr(key) else { return };
    // SAFETY: a map's value; the key is this thread's own.
    let before = unsafe { *before };
    _ = JOINING.remove(key);
    let counting = of_caller();
    if ret != 0 {
        counting.count_in::<4>(Counter::NsSetnsEperm, refusal(ret));
        return;
    }
    let mut after = NsInodes::NONE;
    current_namespaces(current(), &mut after);
    let is_outside = before.mnt == mode!(host_mnt_ns);
    let first = if is_outside { Counter::NsJoinedOutsideCgroup } else { Counter::NsJoinedInsideCgroup };
    // In the order of the counters' ranges. Of pid and time namespaces a caller joins those of its children.
    let changed = [
        before.cgroup != after.cgroup,
        before.ipc != after.ipc,
        before.mnt != after.mnt,
        before.net != after.net,
        before.pid_for_children != after.pid_for_children,
        before.time_for_children != after.time_for_children,
        before.user != after.user,
        before.uts != after.uts,
    ];
    let (mut i, mut flags) = (0, 0);
    while i < N_NS {
        if changed[i] {
            counting.count_in::<{ N_NS as u32 }>(first, i as u32);
            flags |= NS_FLAGS[i];
        }
        i += 1;
    }
    if flags != 0 {
        count_flags(ns_call::SETNS, flags);
    }
}

/// `zap_pid_ns_processes(ns)`: PID 1 has ended, and kills all others.
#[fentry(function = "zap_pid_ns_processes")]
pub(crate) fn zap_pid_ns_processes(ctx: FEntryContext) -> u32 {
    let ns: usize = ctx.arg(0);
    if let Err(error) = DYING.insert(rd::<u32>(ns, off!(pid_ns_inum)), 1, 0) {
        refused(table::DYING, error);
    }
    0
}

/// All of them are gone.
#[fexit(function = "zap_pid_ns_processes")]
pub(crate) fn zap_pid_ns_processes_return(ctx: FExitContext) -> u32 {
    let ns: usize = ctx.arg(0);
    _ = DYING.remove(rd::<u32>(ns, off!(pid_ns_inum)));
    0
}
