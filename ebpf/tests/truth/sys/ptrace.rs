//! ptrace(2)
#![allow(unsafe_code, reason = "raw ptrace")]

use std::io;

use nix::unistd::Pid;

use crate::Res;

fn request(request: libc::c_uint, pid: Pid) -> Res<()> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the callers use requests that read and write no memory of ours.
    match unsafe { libc::ptrace(request as _, pid.as_raw(), nothing, nothing) } {
        -1 => Err(io::Error::last_os_error().into()),
        _ => Ok(()),
    }
}

/// Lets the parent trace the calling process.
pub(crate) fn trace_me() -> Res<()> {
    request(libc::PTRACE_TRACEME as _, Pid::from_raw(0))
}

/// Begins to trace a process without stopping it.
pub(crate) fn seize(pid: Pid) -> Res<()> {
    request(libc::PTRACE_SEIZE as _, pid)
}

/// Lets a stopped tracee go on, without a signal.
pub(crate) fn go_on(pid: Pid) -> Res<()> {
    request(libc::PTRACE_CONT as _, pid)
}
