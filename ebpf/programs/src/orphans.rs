//! Living processes whose parent has ended. Most exits find none known, and need not look further: the map is large and cold.

use podproof_abi::{Orphan, table};

use crate::atomic;
use crate::count::refused;
use crate::maps::{N_ORPHANS, ORPHANS};

/// Whether there may be any.
#[inline(always)]
pub(crate) fn are_known() -> bool {
    N_ORPHANS.get(0).is_none_or(|n| *n != 0)
}

/// A process has lost its parent. The first one is remembered, also when the one that adopted it ends too.
#[inline(always)]
pub(crate) fn mark(tgid: u32, orphan: Orphan) {
    const BPF_NOEXIST: u64 = 1;
    if ORPHANS.insert(tgid, orphan, BPF_NOEXIST).is_ok() {
        add(1);
        return;
    }
    let is_known = match ORPHANS.get_ptr(tgid) {
        // SAFETY: a map's value.
        Some(known) => unsafe { (*known).start_ns == orphan.start_ns },
        None => false,
    };
    if !is_known && let Err(error) = ORPHANS.insert(tgid, orphan, 0) {
        refused(table::ORPHANS, error);
    }
}

/// Forgets an orphan; the parent that it had lost, if it is the process that began at `start_ns`.
#[inline(always)]
pub(crate) fn take(tgid: u32, start_ns: u64) -> Option<u32> {
    let orphan = ORPHANS.get_ptr(tgid)?;
    // SAFETY: a map's value.
    let orphan = unsafe { *orphan };
    if ORPHANS.remove(tgid).is_ok() {
        add(u64::MAX);
    }
    (orphan.start_ns == start_ns).then_some(orphan.parent_tgid)
}

#[inline(always)]
fn add(n: u64) {
    if let Some(count) = N_ORPHANS.get_ptr_mut(0) {
        atomic::add(count, n);
    }
}
