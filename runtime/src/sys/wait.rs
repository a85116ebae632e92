//! Waiting for children (wait(2)). nix has no form for a status by a real-time signal: it gives `EINVAL`, after the kernel
//! has forgotten the child.
#![expect(unsafe_code, reason = "nix loses the status of a child that a real-time signal has ended")]

use std::fmt;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::check;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this code, 0 to 255.
    Exited(i32),
    /// By this signal, 1 to 64.
    Signaled(i32),
}

impl Ended {
    fn of(status: libc::c_int) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signaled(libc::WTERMSIG(status))
        } else {
            // Stops and continues are not asked for.
            Self::Exited(libc::WEXITSTATUS(status))
        }
    }

    /// The exit code that a shell shows: 128 + n for signal n.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
        }
    }

    /// The signal, if it was one.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Exited(_) => None,
            Self::Signaled(signal) => Some(signal),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signaled(signal) => match Signal::try_from(*signal) {
                Ok(name) => write!(f, "ended by {name}"),
                Err(_real_time) => write!(f, "ended by signal {signal}"),
            },
        }
    }
}

/// Waits for this child, of whatever kind (`__WALL`).
///
/// # Errors
/// `ECHILD` when there is none, `EINTR`.
pub fn wait(child: Pid) -> Result<Ended, Errno> {
    loop {
        if let Some((_, ended)) = waitpid(child.as_raw(), 0)? {
            return Ok(ended);
        }
    }
}

/// Takes this child if it has ended.
///
/// # Errors
/// `ECHILD` when there is none.
pub fn take(child: Pid) -> Result<Option<Ended>, Errno> {
    Ok(waitpid(child.as_raw(), libc::WNOHANG)?.map(|(_, ended)| ended))
}

/// Takes any child that has ended; `None` when all that there are live.
///
/// # Errors
/// `ECHILD` when there is none.
pub fn take_any() -> Result<Option<(Pid, Ended)>, Errno> {
    waitpid(-1, libc::WNOHANG)
}

/// Waits for any child.
///
/// # Errors
/// `ECHILD` when there is none, `EINTR`.
pub fn wait_any() -> Result<Option<(Pid, Ended)>, Errno> {
    waitpid(-1, 0)
}

fn waitpid(pid: i32, flags: libc::c_int) -> Result<Option<(Pid, Ended)>, Errno> {
    let mut status = 0;
    // SAFETY: `status` is writable for the time of the call.
    let pid = check(unsafe { libc::waitpid(pid, &raw mut status, flags | libc::__WALL) }.into())?;
    let pid = i32::try_from(pid).map_err(|_too_big| Errno::EINVAL)?;
    Ok((pid > 0).then(|| (Pid::from_raw(pid), Ended::of(status))))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[expect(clippy::zombie_processes, reason = "it is waited for by the function that is tested")]
    fn ended(script: &str) -> Ended {
        let child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
        wait(Pid::from_raw(i32::try_from(child.id()).unwrap())).unwrap()
    }

    #[test]
    fn every_end_has_a_status() {
        for (script, code, signal, text) in [
            ("exit 0", 0, None, "exit status 0"),
            ("exit 255", 255, None, "exit status 255"),
            ("kill -9 $$", 137, Some(9), "ended by SIGKILL"),
            ("kill -34 $$", 162, Some(34), "ended by signal 34"),
            ("kill -64 $$", 192, Some(64), "ended by signal 64"),
        ] {
            let ended = ended(script);
            assert_eq!((ended.code(), ended.signal()), (code, signal), "{script}");
            assert_eq!(ended.to_string(), text);
        }
    }

    #[test]
    fn who_has_no_such_child_is_told() {
        assert_eq!(wait(Pid::from_raw(1)), Err(Errno::ECHILD));
    }
}
