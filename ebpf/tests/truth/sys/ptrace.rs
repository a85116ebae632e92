//! ptrace(2)
#![allow(unsafe_code, reason = "raw ptrace")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
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

/// Runs a command to its end under ptrace; the numbers of its calls as they began and as they returned, after its exec.
pub(crate) fn calls(mut command: Command) -> Res<(Vec<u64>, Vec<u64>)> {
    // SAFETY: ptrace(2) is one bare system call.
    unsafe {
        command.pre_exec(|| ptrace::traceme().map_err(io::Error::from));
    }
    let child = Pid::from_raw(command.spawn()?.id().cast_signed());
    // The exec stops it.
    waitpid(child, None)?;
    ptrace::setoptions(child, Options::PTRACE_O_TRACESYSGOOD)?;
    let (mut entered, mut returned) = (vec![], vec![]);
    let mut signal = None;
    let mut is_inside = false;
    loop {
        ptrace::syscall(child, signal.take())?;
        match waitpid(child, None)? {
            WaitStatus::PtraceSyscall(_) => {
                is_inside = !is_inside;
                let list = if is_inside { &mut entered } else { &mut returned };
                list.push(ptrace::getregs(child)?.orig_rax);
            }
            WaitStatus::Stopped(_, taken) => signal = Some(taken),
            WaitStatus::Exited(_, 0) => return Ok((entered, returned)),
            other => return Err(format!("the traced program: {other:?}").into()),
        }
    }
}

/// Lets a stopped tracee run to its end. A signal, which it does not get, interrupts its first clone3(2); how often that began
/// again.
pub(crate) fn interrupt_clone3(child: Pid) -> Res<i64> {
    const ERESTARTNOINTR: i64 = 513;
    ptrace::setoptions(child, Options::PTRACE_O_TRACESYSGOOD)?;
    let (mut is_inside, mut is_sent, mut n) = (false, false, 0);
    loop {
        ptrace::syscall(child, None)?;
        match waitpid(child, None)? {
            WaitStatus::PtraceSyscall(_) => {
                is_inside = !is_inside;
                let registers = ptrace::getregs(child)?;
                if registers.orig_rax.cast_signed() != libc::SYS_clone3 {
                    continue;
                }
                if is_inside && !is_sent {
                    kill(child, Signal::SIGUSR1)?;
                    is_sent = true;
                }
                n += i64::from(!is_inside && registers.rax.cast_signed() == -ERESTARTNOINTR);
            }
            WaitStatus::Stopped(..) => {}
            WaitStatus::Exited(_, 0) => return Ok(n),
            other => return Err(format!("the tracee: {other:?}").into()),
        }
    }
}
