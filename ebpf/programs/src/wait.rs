//! wait4(2) and waitid(2), counted where fexit is allowed.

use aya_ebpf::helpers::bpf_get_current_cgroup_id;
use aya_ebpf::macros::fexit;
use aya_ebpf::programs::FExitContext;
use podproof_abi::Counter;

use crate::count::Counting;
use crate::kernel::{off, rd};

const WNOWAIT: u32 = 0x0100_0000;
const ECHILD: i64 = -10;
/// `ERESTARTSYS`
const INTERRUPTED: i64 = -512;

/// `do_wait(wo)` returns: the number of a child, 0 for none yet, or an error.
#[fexit(function = "do_wait")]
pub(crate) fn do_wait(ctx: FExitContext) -> u32 {
    let options: usize = ctx.arg(0);
    let ret: i64 = ctx.arg(1);
    let outcome = if ret > 0 {
        let info: usize = rd(options, off!(wait_info));
        let is_end = if info == 0 {
            let status: u32 = rd(options, off!(wait_stat));
            status & 0xff != 0x7f && status != 0xffff
        } else {
            // waitid(2) leaves the status as it was: CLD_EXITED, CLD_KILLED, CLD_DUMPED.
            (1..=3).contains(&rd::<u32>(info, off!(waitid_cause)))
        };
        if is_end && rd::<u32>(options, off!(wait_flags)) & WNOWAIT == 0 { 0 } else { 1 }
    } else if ret == 0 {
        1
    } else if ret == ECHILD {
        2
    } else if ret == INTERRUPTED {
        3
    } else {
        4
    };
    // SAFETY: the helper has no preconditions.
    Counting::of(unsafe { bpf_get_current_cgroup_id() }).count_in::<5>(Counter::WaitsReaped, outcome);
    0
}
