//! Pseudoterminals (pty(7), ioctl_tty(2)).
#![expect(unsafe_code, reason = "nix has no wrappers for these requests")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::check;
use crate::spec::ConsoleSize;

mod request {
    nix::ioctl_read_bad!(get_size, libc::TIOCGWINSZ, libc::winsize);
    nix::ioctl_write_ptr_bad!(set_size, libc::TIOCSWINSZ, libc::winsize);
    nix::ioctl_write_ptr_bad!(set_lock, libc::TIOCSPTLCK, libc::c_int);
    nix::ioctl_write_int_bad!(set_controlling, libc::TIOCSCTTY);
    nix::ioctl_write_int_bad!(get_peer, libc::TIOCGPTPEER);
}

/// Opens the other end of a master, without a path that somebody could have replaced.
///
/// # Errors
/// `ENOTTY` when it is no master, else the errno of the ioctl.
pub fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let unlocked = 0;
    // SAFETY: TIOCSPTLCK reads an int.
    unsafe { request::set_lock(master.as_raw_fd(), &raw const unlocked) }?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags by value.
    let fd = unsafe { request::get_peer(master.as_raw_fd(), flags) }?;
    check(fd.into())?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The size of a terminal.
///
/// # Errors
/// `ENOTTY` when it is none.
pub fn size(terminal: BorrowedFd<'_>) -> Result<ConsoleSize, Errno> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes a winsize.
    unsafe { request::get_size(terminal.as_raw_fd(), &raw mut size) }?;
    Ok(ConsoleSize { height: size.ws_row, width: size.ws_col })
}

/// Sets the size; the foreground processes get SIGWINCH when it changes.
///
/// # Errors
/// `ENOTTY` when it is no terminal.
pub fn set_size(terminal: BorrowedFd<'_>, size: ConsoleSize) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a winsize.
    unsafe { request::set_size(terminal.as_raw_fd(), &raw const size) }.map(drop)
}

/// Makes it the controlling terminal of the caller, who leads a session without one.
///
/// # Errors
/// `EPERM` when the caller does not, or the terminal has a session.
pub fn set_controlling(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: TIOCSCTTY takes a number; 0 steals from nobody.
    unsafe { request::set_controlling(terminal.as_raw_fd(), 0) }.map(drop)
}
