//! Descriptors: kept away from the standard ones, and the network namespace cookie of a socket.

use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::failure::errno_of;

/// `SO_NETNS_COOKIE` of asm-generic/socket.h (Linux 5.14).
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Moves a descriptor to 3 or above, so that it never stands in for a standard one that is missing.
///
/// # Errors
/// That of fcntl(2).
pub(crate) fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(fd);
    }
    // Duplicates with F_DUPFD_CLOEXEC from 3 on.
    fd.try_clone().map_err(|error| errno_of(&error))
}

/// A close-on-exec pipe above the standard descriptors: read end, write end.
///
/// # Errors
/// That of pipe2(2) or fcntl(2).
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((above_stdio(read)?, above_stdio(write)?))
}

/// Cookie of the network namespace of a socket.
///
/// # Errors
/// That of getsockopt(2).
pub(crate) fn net_cookie(socket: &OwnedFd) -> Result<u64, Errno> {
    let mut cookie = 0_u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `cookie`, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    Errno::result(result).map(|_| cookie)
}
