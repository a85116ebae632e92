//! Puts a record into the ring.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::generated::bpf_get_current_comm;
use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
};
use podproof_abi::{ABI_VERSION, Header};

use crate::atomic;
use crate::kernel::{current, off, rd};
use crate::maps::{EMITTED, EVENTS};
use crate::scope::{Scopes, lost};

/// Emits a record; without room, counts a loss for its scopes.
#[inline(always)]
pub(crate) fn emit<R: 'static>(scopes: Scopes, kind: u16, fill: impl FnOnce(&mut R)) {
    emit_strings(scopes, kind, size_of::<R>(), fill);
}

/// The same for a record that ends with strings, which begin at `strings` and are all written by helpers that zero them
/// when they fail: they are not zeroed before.
#[inline(always)]
pub(crate) fn emit_strings<R: 'static>(scopes: Scopes, kind: u16, strings: usize, fill: impl FnOnce(&mut R)) {
    if !try_emit(scopes, kind, strings, fill) {
        scopes.lose();
    }
}

/// Reserves a record whose first bytes are zeroed, writes its header, lets `fill` do the rest, submits it without waking the reader (it
/// polls). False without room.
///
/// `R` begins with a [`Header`] and is a multiple of 8 bytes long, as every record of the ABI.
#[inline(always)]
pub(crate) fn try_emit<R: 'static>(
    scopes: Scopes,
    kind: u16,
    zeroed: usize,
    fill: impl FnOnce(&mut R),
) -> bool {
    let stats = EMITTED.get_ptr_mut(u32::from(kind));
    let Some(mut entry) = EVENTS.reserve::<R>(0) else {
        if let Some(stats) = stats {
            // SAFETY: a field of a map's value.
            atomic::add(unsafe { &raw mut (*stats).lost }, 1);
        }
        return false;
    };
    if let Some(stats) = stats {
        // SAFETY: a field of a map's value.
        atomic::add(unsafe { &raw mut (*stats).emitted }, 1);
    }
    let record = entry.as_mut_ptr();
    let words = record.cast::<u64>();
    let mut i = 0;
    while i < zeroed / 8 {
        // SAFETY: the reserved room is size_of::<R>() bytes. Volatile, since a call to memset would not link.
        unsafe { words.add(i).write_volatile(0) };
        i += 1;
    }
    // SAFETY: R begins with a Header (repr(C), first member).
    let header = unsafe { &mut *record.cast::<Header>() };
    let pid_tgid = bpf_get_current_pid_tgid();
    header.abi = ABI_VERSION;
    header.kind = kind;
    header.len = size_of::<R>() as u32;
    // SAFETY: helpers without preconditions.
    unsafe {
        header.boot_ns = bpf_ktime_get_boot_ns();
        header.cpu = bpf_get_smp_processor_id();
        header.cgroup_id = bpf_get_current_cgroup_id();
    }
    header.scope = scopes.scope;
    header.peer_scope = scopes.peer;
    header.lost = lost(scopes.scope);
    header.tid = pid_tgid as u32;
    header.tgid = (pid_tgid >> 32) as u32;
    header.start_ns = rd(current(), off!(task_start));
    // Into its place: a copy by way of the stack would be cleared and moved byte by byte.
    // SAFETY: the helper writes at most the bytes of the array.
    unsafe { bpf_get_current_comm((&raw mut header.comm).cast(), size_of_val(&header.comm) as u32) };
    // SAFETY: every value is one of every member of R.
    fill(unsafe { &mut *record });
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    true
}
