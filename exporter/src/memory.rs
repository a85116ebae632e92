//! The heap: as glibc has it by default, each thread that reads the node keeps a heap of its own as large as its largest answer.
#![expect(unsafe_code, reason = "mallopt(3) has no safe wrapper")]

use nix::libc::{M_ARENA_MAX, mallopt};

/// Has all threads share one heap (`M_ARENA_MAX` of mallopt(3)): what one frees serves the next. To be called before the first thread
/// is made.
pub(crate) fn share_heap() {
    // SAFETY: mallopt(3) may be called at any time; it changes only where later memory comes from.
    let _else_as_by_default = unsafe { mallopt(M_ARENA_MAX, 1) };
}
