//! POSIX message queues seen from outside, through the mqueue file system of a container (mq_overview(7)).

use std::fs::{self, File};
use std::io;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Where the file system is mounted in containers.
pub const MOUNT_POINT: &str = "/dev/mqueue";
/// What is made where no queue can be.
const PROBE: &str = "podproof-probe";

/// Bytes that wait in a queue, as its file tells (`QSIZE`).
#[must_use]
pub fn pending_bytes(pid: i32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/root{MOUNT_POINT}{name}")).ok()?;
    text.strip_prefix("QSIZE:")?.split_whitespace().next()?.parse().ok()
}

/// An open root directory of a mqueue file system. It does not keep the IPC namespace that the file system shows.
#[derive(Debug)]
pub struct QueueDir(File);

impl QueueDir {
    /// That of the IPC namespace in which a process's `/dev/mqueue` was mounted.
    ///
    /// # Errors
    /// When the process is gone, or has nothing there.
    pub fn of(pid: i32) -> io::Result<Self> {
        File::open(format!("/proc/{pid}/root{MOUNT_POINT}")).map(Self)
    }

    /// Whether that IPC namespace has ended: the file system has lost it then, and the kernel refuses a new queue with
    /// EACCES, to root too (`mqueue_create_attr` of ipc/mqueue.c).
    ///
    /// # Errors
    /// When the kernel gives another answer.
    pub fn namespace_ended(&self) -> io::Result<bool> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        match openat(&self.0, PROBE, flags, Mode::S_IRUSR) {
            Ok(queue) => {
                drop(queue);
                unlinkat(&self.0, PROBE, UnlinkatFlags::NoRemoveDir)?;
                Ok(false)
            }
            Err(Errno::EACCES) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }
}
