//! The status of a container, read from its process (runtime.md, state).
//!
//! A process is named by its pid, its start time and the boot: a number that came back is another process. It runs
//! until its last thread has ended; a leader that called pthread_exit is a zombie in `/proc/PID/stat` while the other
//! threads go on, so the letter there decides nothing. A pidfd becomes readable at the end of the last thread
//! (pidfd_open(2)).

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::unistd::Pid;
use procfs::FromRead;
use serde::{Deserialize, Serialize};

use crate::sys::process;

/// The statuses of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` is at work, or was interrupted.
    Creating,
    /// The process waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// All processes are stopped by `pause`, whether the program was started or not.
    Paused,
    /// The process has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// A process, told apart from later ones with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Number in the pid namespace of the runtime.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// Identifies a process that exists.
    ///
    /// # Errors
    /// What reading `/proc` gives.
    pub fn of(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid: pid.as_raw(), start_ticks: start_ticks(pid)?, boot_id: boot_id()?.to_owned() })
    }

    /// The process, if it still has a thread that lives.
    ///
    /// # Errors
    /// What the kernel gives, other than that there is no such process.
    pub fn open(&self) -> Result<Option<OwnedFd>, Errno> {
        // A file with nonsense in it must not make podrt signal itself or its group.
        if self.pid <= 0 || boot_id().is_ok_and(|now| now != self.boot_id) {
            return Ok(None);
        }
        let pid = Pid::from_raw(self.pid);
        let pidfd = match process::pidfd_open(pid) {
            // EINVAL: the number belongs to a thread that is not a leader.
            Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            result => result?,
        };
        // Read after the open: if the number has changed hands, the descriptor is the other process.
        let is_same = start_ticks(pid).is_ok_and(|ticks| ticks == self.start_ticks);
        Ok((is_same && !process::has_ended(pidfd.as_fd())?).then_some(pidfd))
    }

    /// The status, given the lock that init holds until its exec.
    ///
    /// # Errors
    /// What the kernel gives.
    pub fn status(&self, barrier: &Path) -> Result<Status, Errno> {
        Ok(if self.open()?.is_some() { Self::status_alive(barrier) } else { Status::Stopped })
    }

    /// The status of one that lives.
    #[must_use]
    pub fn status_alive(barrier: &Path) -> Status {
        if is_held(barrier) { Status::Created } else { Status::Running }
    }
}

/// True when somebody has the lock. The exec closes init's descriptor and with it releases the lock, at the very moment
/// at which the program replaces the runtime.
fn is_held(barrier: &Path) -> bool {
    let Ok(file) = File::open(barrier) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// The id of this boot, which outlives every process that asks for it.
fn boot_id() -> io::Result<&'static str> {
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id);
    }
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(ID.get_or_init(|| id.trim().to_owned()))
}

fn start_ticks(pid: Pid) -> io::Result<u64> {
    let stat = procfs::process::Stat::from_file(format!("/proc/{pid}/stat"));
    stat.map(|stat| stat.starttime).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(child: &std::process::Child) -> ProcessIdentity {
        ProcessIdentity::of(Pid::from_raw(i32::try_from(child.id()).unwrap())).unwrap()
    }

    #[test]
    fn a_process_is_running_until_it_has_ended_reaped_or_not() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let identity = of(&child);
        let none = Path::new("/nonexistent");
        assert_eq!(identity.status(none).unwrap(), Status::Running);
        drop(child.stdin.take());
        let pidfd = process::pidfd_open(Pid::from_raw(identity.pid)).unwrap();
        assert!(process::wait_end(pidfd.as_fd(), std::time::Duration::from_secs(10)).unwrap());
        assert_eq!(identity.status(none).unwrap(), Status::Stopped, "a zombie");
        child.wait().unwrap();
        assert_eq!(identity.status(none).unwrap(), Status::Stopped);
    }

    #[test]
    fn another_process_with_the_number_is_not_the_container() {
        let own = ProcessIdentity::of(nix::unistd::getpid()).unwrap();
        assert!(own.open().unwrap().is_some());
        for other in [
            ProcessIdentity { start_ticks: own.start_ticks + 1, ..own.clone() },
            ProcessIdentity { boot_id: "earlier".into(), ..own.clone() },
            ProcessIdentity { pid: 0, ..own.clone() },
            ProcessIdentity { pid: -1, ..own.clone() },
        ] {
            assert!(other.open().unwrap().is_none(), "{other:?}");
        }
    }

    #[test]
    fn the_barrier_tells_created_from_running() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("barrier");
        let own = ProcessIdentity::of(nix::unistd::getpid()).unwrap();
        let lock = File::create(&path).unwrap();
        lock.lock().unwrap();
        assert_eq!(own.status(&path).unwrap(), Status::Created);
        drop(lock);
        assert_eq!(own.status(&path).unwrap(), Status::Running);
    }
}
