//! System calls of the scenarios that have no safe wrapper.
#![allow(unsafe_code, reason = "raw clone, fork, wait and System V shared memory")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Res;

pub(crate) mod mounting;
pub(crate) mod program;
pub(crate) mod ptrace;
pub(crate) mod timing;
pub(crate) mod waiting;

/// `struct clone_args` up to the cgroup (clone(2)).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Leaves a forked child with the status that its work gave; an error is printed and gives 99.
fn leave(child: impl FnOnce() -> Res<i32>) -> ! {
    let status = child().unwrap_or_else(|error| {
        eprintln!("child: {error}");
        99
    });
    // SAFETY: ends the process without running the parent's exit handlers; no preconditions.
    unsafe { libc::_exit(status) }
}

/// fork(2); the child ends with the status that `child` returns.
pub(crate) fn fork(child: impl FnOnce() -> Res<i32>) -> Res<Pid> {
    // SAFETY: the scenario program has one thread here, so the child may go on as it likes.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().into()),
        0 => leave(child),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// clone3(2) with fork semantics.
pub(crate) fn clone3(
    flags: u64,
    exit_signal: i32,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> Res<i32>,
) -> Result<Pid, Errno> {
    let cgroup = cgroup.map_or(0, |fd| fd.as_raw_fd().cast_unsigned().into());
    let exit_signal = exit_signal.cast_unsigned().into();
    clone_with(CloneArgs { flags, exit_signal, cgroup, ..CloneArgs::default() }, child)
}

/// clone3(2) with fork semantics and chosen numbers, innermost pid namespace first; with none of them as any fork.
pub(crate) fn clone3_with_tids(
    flags: u64,
    tids: &[i32],
    child: impl FnOnce() -> Res<i32>,
) -> Result<Pid, Errno> {
    let args = CloneArgs {
        flags,
        exit_signal: libc::SIGCHLD.cast_unsigned().into(),
        set_tid: if tids.is_empty() { 0 } else { tids.as_ptr() as u64 },
        set_tid_size: tids.len() as u64,
        ..CloneArgs::default()
    };
    clone_with(args, child)
}

fn clone_with(args: CloneArgs, child: impl FnOnce() -> Res<i32>) -> Result<Pid, Errno> {
    // SAFETY: `args` and the numbers that it may point to outlive the call and its size is passed; without a stack the child goes on with a copy of this
    // one, as after fork, in a program with one thread.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) } {
        -1 => Err(Errno::last()),
        0 => leave(child),
        pid => Ok(Pid::from_raw(pid as i32)),
    }
}

/// clone(2) with flags that the kernel refuses.
pub(crate) fn refused_clone(flags: u64) -> Res<Errno> {
    // SAFETY: no stack, no pointers; the caller passes flags that never create a task.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        -1 => Ok(Errno::last()),
        _ => Err(format!("clone with flags {flags:#x} succeeded").into()),
    }
}

/// wait4(2) without a place for the status.
pub(crate) fn wait4_without_status(pid: Pid) -> Res<()> {
    // SAFETY: both pointers may be null.
    let found = unsafe { libc::syscall(libc::SYS_wait4, pid.as_raw(), 0, 0, 0) };
    if found == i64::from(pid.as_raw()) { Ok(()) } else { Err(io::Error::last_os_error().into()) }
}

/// waitid(2) with these options.
pub(crate) fn waitid(pid: Pid, options: i32) -> Res<()> {
    // SAFETY: zero is a value of every member.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is a valid place for the result.
    let result = unsafe { libc::waitid(libc::P_PID, pid.as_raw().cast_unsigned(), &raw mut info, options) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error().into()) }
}

/// waitid(2) without a place for the result.
pub(crate) fn waitid_without_info(pid: Pid) -> Res<()> {
    // SAFETY: both pointers may be null.
    let result = unsafe { libc::syscall(libc::SYS_waitid, libc::P_PID, pid.as_raw(), 0, libc::WEXITED, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error().into()) }
}

/// Waits for a child; its wait status as code or negated signal.
pub(crate) fn wait(pid: Pid) -> Res<i32> {
    match waitpid(pid, None)? {
        WaitStatus::Exited(_, code) => Ok(code),
        WaitStatus::Signaled(_, signal, _) => Ok(-(signal as i32)),
        other => Err(format!("{other:?}").into()),
    }
}

/// Sets what SIGCHLD does: `SIG_DFL`, `SIG_IGN`, with `SA_NOCLDWAIT` or without.
pub(crate) fn set_sigchld(ignore: bool, no_wait: bool) -> Res<()> {
    // SAFETY: zero is a value of every member.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    action.sa_flags = if no_wait { libc::SA_NOCLDWAIT } else { 0 };
    // SAFETY: `action` is complete and installs no handler function.
    match unsafe { libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

extern "C" fn nothing(_signal: i32) {}

/// Installs a handler that does nothing.
pub(crate) fn handle(signal: i32) -> Res<()> {
    // SAFETY: zero is a value of every member.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler touches nothing, so it is async-signal-safe.
    match unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// tgkill(2)
pub(crate) fn tgkill(tgid: i32, tid: i32, signal: i32) -> Res<()> {
    // SAFETY: plain numbers.
    match unsafe { libc::syscall(libc::SYS_tgkill, tgid, tid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// shmget(2), shmat(2), shmdt(2), and the removal; the results of the first two.
pub(crate) fn shared_memory(key: i32, size: usize, flags: i32) -> Res<(i32, i32)> {
    // SAFETY: plain numbers.
    let id = unsafe { libc::shmget(key, size, flags) };
    if id < 0 {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: the kernel chooses the address; nothing is read or written there.
    let at = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    let attached = if at as isize == -1 { -(Errno::last() as i32) } else { 0 };
    if attached == 0 {
        // SAFETY: `at` is what shmat returned, and nothing refers to it.
        unsafe { libc::shmdt(at) };
    }
    // SAFETY: IPC_RMID takes no buffer.
    match unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) } {
        0 => Ok((id, attached)),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// shmget(2) and shmat(2) of an id that does not exist; the errors.
pub(crate) fn missing_shared_memory(key: i32) -> (Errno, Errno) {
    // SAFETY: plain numbers.
    let got = unsafe { libc::shmget(key, 4096, 0) };
    let get = if got < 0 { Errno::last() } else { Errno::UnknownErrno };
    // SAFETY: an id that cannot exist maps nothing.
    let at = unsafe { libc::shmat(-1, std::ptr::null(), 0) };
    let attach = if at as isize == -1 { Errno::last() } else { Errno::UnknownErrno };
    (get, attach)
}

/// `struct __user_cap_header_struct` and the two halves of the sets (capget(2)).
pub(crate) fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Res<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let half = |shift: u32| [effective, permitted, inheritable].map(|set| (set >> shift) as u32);
    let sets = [half(0), half(32)];
    // SAFETY: header and sets have the layout of version 3 and outlive the call.
    match unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// prctl(2) with numbers only.
pub(crate) fn prctl(option: i32, args: [u64; 2]) -> Res<()> {
    // SAFETY: the callers use options that take no pointers.
    match unsafe { libc::prctl(option, args[0], args[1], 0u64, 0u64) } {
        -1 => Err(io::Error::last_os_error().into()),
        _ => Ok(()),
    }
}

/// Takes and touches memory until there is none.
pub(crate) fn eat_memory() -> ! {
    let mut eaten: Vec<Vec<u8>> = vec![];
    loop {
        eaten.push(vec![1; 1 << 20]);
    }
}

/// Installs a seccomp filter that allows everything.
pub(crate) fn allow_all_filter() -> Res<()> {
    const BPF_RET: u16 = 0x06;
    let mut instruction = libc::sock_filter { code: BPF_RET, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let program = libc::sock_fprog { len: 1, filter: &raw mut instruction };
    // SAFETY: the program and its one instruction outlive the call.
    let result =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error().into()) }
}

/// pidfd_open(2)
pub(crate) fn pidfd_open(pid: Pid) -> Res<OwnedFd> {
    // SAFETY: plain numbers.
    match unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) } {
        -1 => Err(io::Error::last_os_error().into()),
        // SAFETY: the kernel has just given out this descriptor, and nobody else knows it.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
    }
}

/// Blocks one signal, also a realtime one.
pub(crate) fn block(signal: i32) -> Res<()> {
    // SAFETY: zero is a value of every member; sigemptyset makes it a set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a valid place.
    unsafe { libc::sigemptyset(&raw mut set) };
    // SAFETY: `set` is an initialised set.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    // SAFETY: `set` is complete; the old mask is not asked for.
    match unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// kill(2) of the calling process, also with a realtime signal.
pub(crate) fn kill_self(signal: i32) -> Res<()> {
    // SAFETY: plain numbers.
    match unsafe { libc::kill(libc::getpid(), signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// sigqueue(3) to the calling process.
pub(crate) fn queue_to_self(signal: i32) -> Result<(), Errno> {
    let value = libc::sigval { sival_ptr: std::ptr::null_mut() };
    // SAFETY: plain numbers and a null value.
    match unsafe { libc::sigqueue(libc::getpid(), signal, value) } {
        0 => Ok(()),
        _ => Err(Errno::last()),
    }
}
