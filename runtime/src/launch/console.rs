//! The way of a terminal's master out of the container: over a Unix socket, as runc sends it.
//!
//! With `--console-socket` the socket is the caller's; the message is the name that the master was opened by, and the descriptor
//! (unix(7), `SCM_RIGHTS`). Without, it is a pair, and the runtime keeps the other end. A keeper hands its program over by the same message.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// What clients of runc get as the name.
const NAME: &[u8] = b"/dev/ptmx";

/// Connects to the socket of a caller.
///
/// # Errors
/// What connect(2) gives.
pub fn connect(path: &Path) -> std::io::Result<OwnedFd> {
    UnixStream::connect(path).map(OwnedFd::from)
}

/// Two ends; the first is the one to receive from.
///
/// # Errors
/// What socketpair(2) gives.
pub fn pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    UnixStream::pair().map(|(ours, theirs)| (ours.into(), theirs.into()))
}

/// Sends a descriptor.
pub(super) fn send(socket: BorrowedFd<'_>, sent: BorrowedFd<'_>) -> Result<(), Errno> {
    let fds = [sent.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(NAME)], &rights, MsgFlags::MSG_NOSIGNAL, None).map(drop)
}

/// Receives a descriptor that has been sent.
///
/// # Errors
/// `EBADMSG` when the message holds none, else the errno of recvmsg(2).
#[expect(unsafe_code, reason = "a received descriptor is a number until somebody owns it")]
pub fn receive(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut name = [0; 4096];
    let mut parts = [IoSliceMut::new(&mut name)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let [fd] = fds[..]
        {
            // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
    Err(Errno::EBADMSG)
}
