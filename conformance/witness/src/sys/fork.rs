//! Children: fork, what every child does first, and waiting for one of them.
//!
//! A child's body may run while other threads of the parent hold locks (heartbeat, HTTP server), so bodies are
//! async-signal-safe: system calls and atomics, no allocation, no destructor that matters. A child leaves by _exit.

use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{entry, signal};

/// Descriptors below this are closed one by one where close_range(2) is refused (a seccomp filter).
const CLOSED_SINGLY: u32 = 4096;

/// Forks a child that runs `body` and exits with its result. It has the parent's standard descriptors and those in
/// `keep`, no others, and the dispositions that the witness was born with.
///
/// # Errors
/// That of fork(2).
pub(crate) fn fork(keep: &[RawFd], body: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    // SAFETY: fork(2) has no precondition; the child runs only `begin`, which keeps to the rule of this module.
    let pid = unsafe { libc::fork() };
    begin(pid.into(), keep, body)
}

/// The same in a new pid namespace, nested in this one; without privilege inside a new user namespace.
///
/// # Errors
/// That of clone(2).
pub(crate) fn fork_in_new_pid_ns(keep: &[RawFd], body: impl Fn() -> i32) -> Result<Pid, Errno> {
    /// No stack, no place for a tid, no thread-local storage.
    const NONE: libc::c_long = 0;
    let clone = |flags: libc::c_int| {
        let flags = libc::c_long::from(flags | libc::SIGCHLD);
        // SAFETY: without CLONE_VM and with no stack the call behaves as fork(2): the child has its own copy of
        // everything. It bypasses libc's fork, whose caches the child does not use: it keeps to this module's rule.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, NONE, NONE, NONE, NONE) };
        begin(pid, keep, &body)
    };
    match clone(libc::CLONE_NEWPID) {
        Err(Errno::EPERM) => clone(libc::CLONE_NEWPID | libc::CLONE_NEWUSER),
        other => other,
    }
}

fn begin(pid: libc::c_long, keep: &[RawFd], body: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    match pid {
        -1 => Err(Errno::last()),
        0 => {
            signal::reset_in_child();
            close_all_but(keep);
            entry::exit(body())
        }
        // A pid fits its type: the kernel's limit is 2^22.
        child => Ok(Pid::from_raw(child as libc::pid_t)),
    }
}

/// Closes everything above the standard descriptors except `keep`: above all the connection to the suite, whose
/// end must be the end of the witness, and the pipes that hold orphans.
fn close_all_but(keep: &[RawFd]) {
    let mut first = 3_u32;
    loop {
        let next = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd >= first).min();
        close_between(first, next.unwrap_or(u32::MAX));
        match next {
            Some(kept) => first = kept + 1,
            None => return,
        }
    }
}

/// Closes `first..end`.
fn close_between(first: u32, end: u32) {
    if first >= end {
        return;
    }
    // SAFETY: the call touches no memory, and the child owns none of the descriptors through a live object.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) };
    if closed == 0 {
        return;
    }
    for fd in first..end.min(CLOSED_SINGLY) {
        // SAFETY: as above.
        unsafe { libc::close(fd as RawFd) };
    }
}

/// Waits for the end of one child and reaps it. Returns its wait status.
///
/// # Errors
/// That of waitpid(2); `ECHILD` where SIGCHLD is ignored and the kernel reaped it.
pub(crate) fn wait_for(child: Pid) -> Result<i32, Errno> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one int to `status`, which outlives the call.
        let result = unsafe { libc::waitpid(child.as_raw(), &raw mut status, 0) };
        match Errno::result(result) {
            Ok(_) => return Ok(status),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Whether the number still names a child of ours that has not ended, so that a signal cannot hit a stranger.
pub(crate) fn is_running_child(child: Pid) -> bool {
    // SAFETY: siginfo_t is plain data, for which all zeroes is a valid value.
    let mut seen: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the kernel writes one siginfo_t to `seen`, which outlives the call.
    let result = unsafe { libc::waitid(libc::P_PID, child.as_raw().unsigned_abs(), &raw mut seen, flags) };
    // SAFETY: `si_pid` is in the common start of the union for waitid(2), and zero when nothing was found.
    result == 0 && unsafe { seen.si_pid() } == 0
}

/// Sends a signal, realtime ones included, by kill(2). Async-signal-safe.
///
/// # Errors
/// That of kill(2).
pub(crate) fn kill(receiver: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: kill(2) touches no memory of the caller.
    Errno::result(unsafe { libc::kill(receiver, signal) }).map(|_| ())
}
