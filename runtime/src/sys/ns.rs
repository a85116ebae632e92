//! Questions about a namespace file (ioctl_nsfs(2)).
#![expect(unsafe_code, reason = "nix has no wrapper for the nsfs ioctls")]

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::check;

/// The `CLONE_NEW*` flag of the namespace that the descriptor stands for.
///
/// # Errors
/// `ENOTTY` when the file is no namespace.
pub fn kind(fd: BorrowedFd<'_>) -> Result<i32, Errno> {
    // SAFETY: NS_GET_NSTYPE takes no argument and returns a number.
    let ret = unsafe { libc::ioctl(fd.as_raw_fd(), libc::NS_GET_NSTYPE) };
    check(ret.into()).map(|_| ret)
}
