//! Processes by descriptor, and what a program inherits: signals, limits, keyring.
#![expect(unsafe_code, reason = "nix has no wrappers for pidfds, signals by any number, prlimit and keyctl")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use super::check;

/// A descriptor for a process that exists, be it a zombie.
///
/// # Errors
/// `ESRCH` when there is none.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    let fd = RawFd::try_from(fd).map_err(|_too_big| Errno::EBADF)?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal, by any number from 0 to 64, to a whole process.
///
/// # Errors
/// `ESRCH` when the process has been reaped, else the errno of pidfd_send_signal(2).
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: a null siginfo means that of kill(2).
    let ret = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0)
    };
    check(ret).map(drop)
}

/// A copy of another process's descriptor (pidfd_getfd(2)).
///
/// # Errors
/// `EPERM` without the right to trace the process, `EBADF` when it has no such descriptor.
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) })?;
    let fd = RawFd::try_from(fd).map_err(|_too_big| Errno::EBADF)?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// True when the last thread of the process has ended. A zombie leader with living threads has not.
///
/// # Errors
/// The errno of poll(2).
pub fn has_ended(pidfd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    Ok(poll(&mut fds, PollTimeout::ZERO)? > 0)
}

/// Waits until the process has ended or the time is over; true when it has ended.
///
/// # Errors
/// The errno of poll(2).
pub fn wait_end(pidfd: BorrowedFd<'_>, timeout: std::time::Duration) -> Result<bool, Errno> {
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, timeout)? > 0)
}

/// The kernel's `struct sigaction`; the C library's version refuses the signals that it keeps for itself.
#[repr(C)]
struct KernelSigaction {
    handler: usize,
    flags: libc::c_ulong,
    restorer: usize,
    mask: u64,
}

impl KernelSigaction {
    const DEFAULT: Self = Self { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
}

/// Number of the last signal.
pub const SIGNAL_MAX: i32 = 64;

/// Gives one signal its default action.
///
/// # Errors
/// `EINVAL` for SIGKILL, SIGSTOP and what is no signal.
pub fn default_action(signal: i32) -> Result<(), Errno> {
    let default = KernelSigaction::DEFAULT;
    // SAFETY: `default` has the kernel's layout, the mask is 8 bytes; SIG_DFL runs no code of ours.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &raw const default,
            std::ptr::null_mut::<KernelSigaction>(),
            size_of::<u64>(),
        )
    };
    check(ret).map(drop)
}

/// The signals that this process ignores, as its caller had it or the standard library. It begins to ignore none later, so they are
/// asked for once, and a clone knows them from its parent.
pub(super) fn ignored_signals() -> &'static [i32] {
    static IGNORED: OnceLock<Vec<i32>> = OnceLock::new();
    IGNORED.get_or_init(|| (1..=SIGNAL_MAX).filter(|signal| is_ignored(*signal)).collect())
}

fn is_ignored(signal: i32) -> bool {
    let mut now = KernelSigaction::DEFAULT;
    // SAFETY: `now` has the kernel's layout, and room for a mask of 8 bytes; nothing is changed.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            std::ptr::null::<KernelSigaction>(),
            &raw mut now,
            size_of::<u64>(),
        )
    };
    ret == 0 && now.handler == libc::SIG_IGN
}

/// Gives every signal its default action and unblocks all: a program starts the same whoever called. For a clone, which has no
/// handlers (`CLONE_CLEAR_SIGHAND`), but ignores what its parent does.
///
/// # Errors
/// The errno of rt_sigprocmask(2).
pub fn reset_signals() -> Result<(), Errno> {
    ignored_signals().iter().try_for_each(|signal| default_action(*signal))?;
    let none = 0_u64;
    // SAFETY: `none` is a mask of 8 bytes.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            std::ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    };
    check(ret).map(drop)
}

/// Sets a limit of another process.
///
/// # Errors
/// `EPERM` when a hard limit would rise without `CAP_SYS_RESOURCE`.
pub fn set_rlimit(pid: Pid, resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` lives for the length of the call; the old value is not asked for.
    let ret = unsafe { libc::prlimit64(pid.as_raw(), resource, &raw const limit, std::ptr::null_mut()) };
    check(ret.into()).map(drop)
}

/// Leaves the caller's session keyring for a new, empty one (keyrings(7)).
///
/// # Errors
/// `ENOSYS` on a kernel without keyrings, `EDQUOT` when the user has too many.
pub fn new_session_keyring() -> Result<(), Errno> {
    let name = std::ptr::null::<libc::c_char>();
    // SAFETY: a null name means an anonymous keyring.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name) };
    check(ret).map(drop)
}

/// Brings the loopback interface of the caller's network namespace up (netdevice(7)).
///
/// # Errors
/// The errno of socket(2) or of the ioctl.
pub fn loopback_up() -> Result<(), Errno> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: ifreq is plain memory; all zeroes is an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    // SAFETY: SIOCGIFFLAGS reads the name and writes the flags of an ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) }.into())?;
    #[expect(clippy::cast_possible_truncation, reason = "IFF_UP is bit 0")]
    let up = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCGIFFLAGS has just filled the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | up;
    // SAFETY: SIOCSIFFLAGS reads the name and the flags of an ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into()).map(drop)
}

/// Sets the NIS domain name of the caller's UTS namespace.
///
/// # Errors
/// The errno of setdomainname(2).
pub fn set_domainname(name: &str) -> Result<(), Errno> {
    // SAFETY: pointer and length belong to `name`.
    let ret = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    check(ret.into()).map(drop)
}
