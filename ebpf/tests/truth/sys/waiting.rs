//! Every form of wait(2), with its plain result.
#![allow(unsafe_code, reason = "raw wait4 and waitid")]

use std::io;

use nix::errno::Errno;
use nix::unistd::Pid;
use podproof_ebpf::event::WaitCall;
use serde::{Deserialize, Serialize};

use crate::Res;

/// One call and what it brought, as the caller saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waited {
    pub(crate) call: WaitCall,
    pub(crate) options: u32,
    /// Return value, or the negated errno.
    pub(crate) ret: i64,
    /// The child's number, when there is one.
    pub(crate) child: Option<u32>,
    /// Wait status or `si_code`, when there is a child and the caller asked.
    pub(crate) status: Option<u32>,
}

/// Waits for a child with any exit signal; its plain wait status.
pub(crate) fn wait_status(pid: Pid) -> Res<u32> {
    let waited = wait4(pid.as_raw(), libc::__WALL, true);
    match waited.status {
        Some(status) => Ok(status),
        None => Err(format!("waiting for {pid}: {waited:?}").into()),
    }
}

/// wait4(2), with a place for the status or without.
pub(crate) fn wait4(pid: i32, options: i32, with_status: bool) -> Waited {
    let mut status = 0u32;
    let place = if with_status { &raw mut status } else { std::ptr::null_mut() };
    // SAFETY: the place is valid or null, and the usage is not asked for.
    let ret = unsafe { libc::syscall(libc::SYS_wait4, pid, place, options, 0) };
    let ret = if ret == -1 { -(Errno::last_raw() as i64) } else { ret };
    let child = u32::try_from(ret).ok().filter(|child| *child > 0);
    let status = child.filter(|_| with_status).map(|_| status);
    Waited { call: WaitCall::Wait4, options: options.cast_unsigned(), ret, child, status }
}

/// waitid(2) for one child, with a place for the result or without.
pub(crate) fn waitid(pid: i32, options: i32, with_info: bool) -> Waited {
    // SAFETY: zero is a value of every member.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let place = if with_info { &raw mut info } else { std::ptr::null_mut() };
    // SAFETY: the place is valid or null, and the usage is not asked for.
    let ret = unsafe { libc::syscall(libc::SYS_waitid, libc::P_PID, pid, place, options, 0) };
    let ret = if ret == -1 { -(Errno::last_raw() as i64) } else { ret };
    // SAFETY: zeroed, or filled by a wait: both give a number.
    let found = unsafe { info.si_pid() };
    let asked = ret == 0 && with_info;
    // Without a place the caller knows the child by its own argument only.
    let child = if asked { found } else { pid };
    let child = u32::try_from(child).ok().filter(|child| ret == 0 && *child > 0);
    let status = child.filter(|_| asked).map(|_| info.si_code.cast_unsigned());
    Waited { call: WaitCall::Waitid, options: options.cast_unsigned(), ret, child, status }
}

/// Waits until there is no child left, taking those that can be taken.
pub(crate) fn wait_for_all() -> Res<()> {
    loop {
        let waited = wait4(-1, libc::__WALL, true);
        match waited.ret {
            ret if ret > 0 => {}
            ret if ret == -i64::from(libc::ECHILD) => return Ok(()),
            ret => return Err(io::Error::from_raw_os_error(i32::try_from(-ret)?).into()),
        }
    }
}
