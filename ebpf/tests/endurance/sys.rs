//! System calls that have no safe wrapper.
#![allow(unsafe_code, reason = "fork in a program with one thread, and bpf(2)")]

use std::io;

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Res;

/// fork(2), a child that leaves at once, wait4(2). Only in a process with one thread.
pub(crate) fn fork_exit_wait() -> Res<()> {
    // SAFETY: the process has one thread, and its child only leaves.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error().into()),
        // SAFETY: ends the process without running exit handlers; no preconditions.
        0 => unsafe { libc::_exit(0) },
        child => Pid::from_raw(child),
    };
    match waitpid(child, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        other => Err(format!("a child ended with {other:?}").into()),
    }
}

/// The members of `union bpf_attr` that `BPF_*_GET_NEXT_ID` uses (bpf(2)).
#[repr(C)]
struct NextId {
    start_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// The id that follows in one of the kernel's lists; `command` is a `BPF_*_GET_NEXT_ID`.
pub(crate) fn next_id(command: i32, start_id: u32) -> io::Result<Option<u32>> {
    let mut attr = NextId { start_id, next_id: 0, open_flags: 0 };
    // SAFETY: `attr` outlives the call and its size is passed; these commands write `next_id` only.
    match unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size_of::<NextId>()) } {
        0 => Ok(Some(attr.next_id)),
        _ if Errno::last() == Errno::ENOENT => Ok(None),
        _ => Err(io::Error::last_os_error()),
    }
}
