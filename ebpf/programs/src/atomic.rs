//! Atomic additions, which the target lacks in `core::sync::atomic`.
//!
//! Sequentially consistent, always: with a weaker order the compiler emits an addition that does not fetch, also where its
//! result is used.

/// Adds to a value of a map.
#[inline(always)]
pub(crate) fn add(value: *mut u64, n: u64) {
    // SAFETY: callers pass a field of a map's value, which is aligned and lives as long as the program runs.
    unsafe {
        core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::SeqCst }>(value, n);
    }
}
