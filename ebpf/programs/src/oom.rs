//! The victim of the OOM killer.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use podproof_abi::{Oom, TaskId, kind};

use crate::emit::emit;
use crate::kernel::{cgroup_id, off, task_id};
use crate::scope::{self, Scopes};

/// `mark_victim(task, uid)`, or `mark_victim(pid)` on older kernels. `current` is whoever ran out of memory.
#[btf_tracepoint(function = "mark_victim")]
pub(crate) fn mark_victim(ctx: BtfTracePointContext) -> u32 {
    let of_current = scope::of_current();
    if off!(victim_is_task) != 0 {
        let victim: usize = ctx.arg(0);
        let Some(scopes) = Scopes::of(scope::of_task(victim), of_current) else { return 0 };
        emit::<Oom>(scopes, kind::OOM, |record| {
            record.task = task_id(victim);
            record.cgroup_id = cgroup_id(victim);
        });
    } else {
        let tid: u32 = ctx.arg(0);
        let Some(scopes) = Scopes::of(scope::of_tgid(tid), of_current) else { return 0 };
        emit::<Oom>(scopes, kind::OOM, |record| record.task = TaskId { tid, tgid: 0, start_ns: 0 });
    }
    0
}
