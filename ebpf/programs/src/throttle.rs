//! CPU bandwidth (kernel Documentation/scheduler/sched-bwc.rst): for how long a cgroup's run queue of one CPU was held back.

use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};
use podproof_abi::{Counter, MISSING, THROTTLE_BOUNDS_NS};

use crate::count::Counting;
use crate::kernel::{id_of_cgroup, off, rd};
use crate::maps::THROTTLED;

/// `unthrottle_cfs_rq(cfs_rq)`: the run queue may go on. Newer kernels forget since when it could not, so that is kept until the
/// function returns: it runs with interrupts off, hence nothing else on this CPU comes between.
#[fentry(function = "unthrottle_cfs_rq")]
pub(crate) fn unthrottle_cfs_rq(ctx: FEntryContext) -> u32 {
    let cfs_rq: usize = ctx.arg(0);
    let since_ns: u64 = rd(cfs_rq, off!(cfs_rq_throttled_clock));
    if let Some(since) = THROTTLED.get_ptr_mut(0) {
        // SAFETY: a map's value, which is this CPU's own.
        unsafe { since.write(since_ns) };
    }
    0
}

/// `unthrottle_cfs_rq` returns, and has brought the clock of the CPU up to date. The time is the one that it has added to the
/// `throttled_usec` of `cpu.stat`.
#[fexit(function = "unthrottle_cfs_rq")]
pub(crate) fn unthrottle_cfs_rq_return(ctx: FExitContext) -> u32 {
    let Some(since) = THROTTLED.get_ptr_mut(0) else { return 0 };
    // SAFETY: a map's value, which is this CPU's own.
    let since_ns = unsafe { since.replace(0) };
    let cfs_rq: usize = ctx.arg(0);
    // Kernels in which it is a bit-field forget since when it was held back; older ones do not.
    let is_held = if off!(cfs_rq_throttled) == MISSING {
        rd::<u64>(cfs_rq, off!(cfs_rq_throttled_clock)) != 0
    } else {
        rd::<u32>(cfs_rq, off!(cfs_rq_throttled)) != 0
    };
    // Or nothing ran in it when its quota was used up.
    if is_held || since_ns == 0 {
        return 0;
    }
    let rq: usize = rd(cfs_rq, off!(cfs_rq_rq));
    let ns = rd::<u64>(rq, off!(rq_clock)).saturating_sub(since_ns);
    let task_group: usize = rd(cfs_rq, off!(cfs_rq_tg));
    let counting = Counting::of(id_of_cgroup(rd(task_group, off!(task_group_cgroup))));
    counting.time::<6>(Counter::ThrottleLe0, &THROTTLE_BOUNDS_NS, Counter::ThrottleSumNs, ns);
    0
}
