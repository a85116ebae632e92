//! clone3(2) and the window between it and the exec.
//!
//! The child of [`clone3`] shares no memory with its parent (`CLONE_VM` is never set), and the parent had one
//! thread, so no lock can be held by somebody who does not exist in the child: it may allocate and use the
//! standard library. It leaves by `_exit` only, so that nothing of the parent's is flushed or dropped twice.
#![expect(unsafe_code, reason = "nix has no clone3; the child returns from the call a second time")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::stat::stat;
use nix::unistd::Pid;

use super::{check, process};

/// `CLONE_INTO_CGROUP` of `linux/sched.h`; the libc crate's constant is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// `CLONE_CLEAR_SIGHAND` of `linux/sched.h`.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// Proof that the process has one thread.
#[derive(Debug, Clone, Copy)]
pub struct SingleThreaded(());

impl SingleThreaded {
    /// Counts the threads of the calling process.
    ///
    /// # Errors
    /// `EINVAL` when there are several, or what looking at `/proc/self/task` gives.
    pub fn check() -> Result<Self, Errno> {
        let tasks = stat("/proc/self/task")?;
        // `.`, the entry in the directory above, and one for each thread (`proc_task_getattr` of the kernel).
        if tasks.st_nlink == 3 { Ok(Self(())) } else { Err(Errno::EINVAL) }
    }
}

/// What the child gets.
#[derive(Debug, Default)]
pub struct CloneRequest<'a> {
    /// `CLONE_NEW*` flags.
    pub namespaces: u64,
    /// The cgroup v2 directory that it is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Its parent is the caller's parent. The caller cannot wait for it.
    pub is_sibling: bool,
}

/// A new process, in the eyes of who called [`clone3`].
#[derive(Debug)]
pub struct Cloned {
    /// Its number in the caller's pid namespace.
    pub pid: Pid,
    /// It itself.
    pub pidfd: OwnedFd,
}

/// Makes a process that runs `child` and exits with its result. It has no handlers of signals; what its parent ignores it does too.
///
/// # Errors
/// The errno of clone3(2), for instance `EPERM`, or `ENOMEM` when PID 1 of the namespace has ended.
pub fn clone3(
    _: SingleThreaded,
    request: &CloneRequest<'_>,
    child: impl FnOnce() -> i32,
) -> Result<Cloned, Errno> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain integers; all zeroes is the documented default of each.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND | request.namespaces;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    if request.is_sibling {
        args.flags |= libc::CLONE_PARENT as u64;
    } else {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = request.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // For [`process::reset_signals`] in this child and all later ones.
    process::ignored_signals();
    // SAFETY: the flags hold neither CLONE_VM nor CLONE_VFORK nor CLONE_SETTLS, so this is a fork: the child has
    // its own copy of all memory, and one thread (`SingleThreaded`), so no lock is orphaned in it.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    if ret == 0 {
        let _abort = AbortOnDrop;
        let code = child();
        // SAFETY: always sound; ends the process without running anything of the parent's.
        unsafe { libc::_exit(code) }
    }
    let pid = check(ret)?;
    let pid = i32::try_from(pid).map_err(|_too_big| Errno::EOVERFLOW)?;
    // SAFETY: the call succeeded with CLONE_PIDFD, so the kernel stored a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned { pid: Pid::from_raw(pid), pidfd })
}

/// A panic in the child must not unwind into the code of the parent.
struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        std::process::abort();
    }
}
