//! System calls that neither the standard library nor nix wraps: the only unsafe code of the crate.
//!
//! Each function does one call, takes and gives owned or borrowed descriptors, and hands back the errno.
//! Nothing here decides anything.

pub mod bpf;
pub mod caps;
pub mod clone;
pub mod exe;
pub mod fd;
pub mod memory;
pub mod mount;
pub mod ns;
pub mod process;
pub mod pty;
pub mod schedule;
pub mod seccomp;
pub mod shared;
pub mod wait;
pub mod xattr;

use nix::errno::Errno;

/// The result of a raw system call: the value, or the errno.
fn check(ret: libc::c_long) -> Result<libc::c_long, Errno> {
    if ret == -1 { Err(Errno::last()) } else { Ok(ret) }
}
