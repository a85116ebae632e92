//! Installing a system call filter (seccomp(2)).
#![expect(unsafe_code, reason = "nix has no wrapper for seccomp")]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::check;
use crate::seccomp::Instruction;

/// Filters the calling thread from here on; with `has_listener` returns the descriptor that notifications come by.
///
/// Allocates nothing afterwards: the filter may be against it.
///
/// # Errors
/// `EACCES` without `no_new_privs` or `CAP_SYS_ADMIN`, `EINVAL` for flags that the kernel does not know.
pub fn load(program: &[libc::sock_filter], flags: u32, has_listener: bool) -> Result<Option<OwnedFd>, Errno> {
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_too_long| Errno::E2BIG)?,
        filter: program.as_ptr().cast_mut(),
    };
    let listener = if has_listener { libc::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    let flags = libc::c_ulong::from(flags) | listener;
    // SAFETY: `header` names the instructions of `program` and their number; the kernel only reads them.
    let ret =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const header) };
    let fd = check(ret)?;
    if !has_listener {
        return Ok(None);
    }
    let fd = RawFd::try_from(fd).map_err(|_too_big| Errno::EBADF)?;
    // SAFETY: with NEW_LISTENER the call returns a new descriptor that nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// The program as the kernel reads it.
#[must_use]
pub fn encode(program: &[Instruction]) -> Vec<libc::sock_filter> {
    let encode = |i: &Instruction| libc::sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k };
    program.iter().map(encode).collect()
}
