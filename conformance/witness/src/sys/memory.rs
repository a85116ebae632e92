//! Fresh memory: touched to be charged, or shared with children.

use std::ops::Deref;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;

/// The smallest page of any architecture: a write to each step reaches each page.
const PAGE_STEP: usize = 4096;

fn map(bytes: usize, flags: libc::c_int) -> Result<NonNull<libc::c_void>, Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses a free place, so no memory in use is affected.
    let at = unsafe { libc::mmap(null_mut(), bytes, protection, flags | libc::MAP_ANONYMOUS, -1, 0) };
    if at == libc::MAP_FAILED { Err(Errno::last()) } else { NonNull::new(at).ok_or(Errno::EFAULT) }
}

/// Maps fresh private memory and writes to each of its pages. The memory stays until the process ends.
/// Allocates nothing else; async-signal-safe.
///
/// # Errors
/// That of mmap(2).
pub(crate) fn touch_pages(bytes: usize) -> Result<(), Errno> {
    // Without reservation, so that the limit that stops it is the cgroup's and not the overcommit rule's.
    let memory = map(bytes, libc::MAP_PRIVATE | libc::MAP_NORESERVE)?.cast::<u8>();
    for offset in (0..bytes).step_by(PAGE_STEP) {
        // SAFETY: `offset` is below the length of the mapping made above, which nobody else knows of.
        let page = unsafe { memory.add(offset) };
        // SAFETY: `page` points into that writable mapping; volatile, so that the write is not optimised away.
        unsafe { page.write_volatile(1) };
    }
    Ok(())
}

/// Ends the process by a write to a page that may not be written: a fault, not a signal that somebody sent.
pub(crate) fn fault() -> ! {
    // SAFETY: the kernel chooses a free place, so no memory in use is affected.
    let page = unsafe {
        libc::mmap(null_mut(), PAGE_STEP, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    if page != libc::MAP_FAILED {
        // SAFETY: the page is mapped and nobody else's; the kernel answers the write with SIGSEGV.
        unsafe { page.cast::<u8>().write_volatile(1) };
    }
    super::exit(1)
}

/// Words of memory shared with the children that are forked while it exists; zero at first.
#[derive(Debug)]
pub(crate) struct SharedWords<const N: usize> {
    words: NonNull<[AtomicU64; N]>,
}

impl<const N: usize> SharedWords<N> {
    /// Maps them.
    ///
    /// # Errors
    /// That of mmap(2).
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self { words: map(size_of::<[AtomicU64; N]>(), libc::MAP_SHARED)?.cast() })
    }
}

impl<const N: usize> Deref for SharedWords<N> {
    type Target = [AtomicU64; N];

    fn deref(&self) -> &[AtomicU64; N] {
        // SAFETY: the mapping is page-aligned, zeroed, large enough, lives as long as `self`, and is only ever
        // reached through atomics, here and in the children.
        unsafe { self.words.as_ref() }
    }
}

impl<const N: usize> Drop for SharedWords<N> {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this, and no reference outlives `self`.
        unsafe { libc::munmap(self.words.as_ptr().cast(), size_of::<[AtomicU64; N]>()) };
    }
}
