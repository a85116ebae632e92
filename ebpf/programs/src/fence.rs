//! A program that is never attached: user space runs it (`BPF_PROG_RUN`) to put a mark into the ring.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use podproof_abi::{Fence, kind};

use crate::emit::try_emit;
use crate::scope::Scopes;

/// Arguments: scope, cookie. Records enter the ring in the order of their reservation, so whatever happened before
/// this call stands before its mark.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub(crate) fn fence(ctx: RawTracePointContext) -> u32 {
    let scope: u64 = ctx.arg(0);
    let cookie: u64 = ctx.arg(1);
    // A mark that finds no room is no loss: user space asks again.
    let scopes = Scopes { scope: scope as u32, peer: 0 };
    _ = try_emit::<Fence>(scopes, kind::FENCE, size_of::<Fence>(), |record| record.cookie = cookie);
    0
}
