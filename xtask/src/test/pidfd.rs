//! pidfd_open(2), which nix has no wrapper for.
#![expect(unsafe_code, reason = "a bare system call and the descriptor that it returns")]

use std::os::fd::{FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

/// A descriptor that becomes readable when the process has ended.
pub(crate) fn open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    let fd = i32::try_from(fd).map_err(|_out_of_range| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor (close-on-exec) and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
