//! Descriptors: which are open, and for whom.
#![expect(unsafe_code, reason = "close_range(2) has no safe wrapper, since it closes what others own")]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::check;

fn close_range(first: u32, last: u32, flags: u32) -> Result<(), Errno> {
    // SAFETY: with CLOSE_RANGE_CLOEXEC nothing is closed now; without it the only caller is
    // `close_all_except`, whose contract covers it.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    check(ret).map(drop)
}

/// Marks every descriptor from `first` on to be closed by the next exec.
///
/// # Errors
/// The errno of close_range(2); `ENOSYS` before Linux 5.9.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from `first` on that is not in `keep`.
///
/// Only for a freshly cloned child: no value that owns one of the others may be used, or dropped, afterwards.
///
/// # Errors
/// The errno of close_range(2).
pub fn close_all_except(first: u32, keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    keep.sort_unstable();
    let mut next = first;
    for fd in keep {
        if fd > next {
            close_range(next, fd - 1, 0)?;
        }
        next = next.max(fd + 1);
    }
    close_range(next, u32::MAX, 0)
}
