//! Children that have ended. nix has no form for an end by a real-time signal: it gives `EINVAL`, after the kernel has forgotten
//! the child.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::unistd::Pid;

/// Takes a child that has ended: this one, or any. `None` when all live, or there is none.
#[expect(unsafe_code, reason = "nix loses the status of a child that a real-time signal has ended")]
pub(crate) fn take_ended(which: Option<Pid>) -> Option<(i32, ExitStatus)> {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one int to `status`, which outlives the call.
        let pid = unsafe { libc::waitpid(which.map_or(-1, Pid::as_raw), &raw mut status, libc::WNOHANG) };
        match Errno::result(pid) {
            Ok(0) => return None,
            Ok(pid) => return Some((pid, ExitStatus::from_raw(status))),
            Err(Errno::EINTR) => {}
            Err(_none) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sys::wait::{Id, WaitPidFlag, waitid};

    use super::*;

    #[test]
    #[expect(clippy::zombie_processes, reason = "it is waited for by the function that is tested")]
    fn each_end_has_a_status() {
        for (script, code, signal) in
            [("exit 3", Some(3), None), ("kill -9 $$", None, Some(9)), ("kill -34 $$", None, Some(34))]
        {
            let child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
            let pid = i32::try_from(child.id()).unwrap();
            let which = Some(Pid::from_raw(pid));
            // It has no form for the last of them, but returns when the child has ended.
            let _ended = waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            let (ended, status) = take_ended(which).unwrap();
            assert_eq!(ended, pid);
            assert_eq!((status.code(), status.signal()), (code, signal), "{script}");
            assert!(take_ended(which).is_none(), "it is taken");
        }
    }
}
