//! Control groups, version 2 only (the kernel's cgroup-v2 document).
//!
//! Owns the container's cgroup: its path ([`path`]), making and limiting it ([`group`], [`device_filter`]), whose it is
//! ([`owner`]), stopping what is in it ([`freeze`]), killing it and removing the cgroup ([`remove`]). It never moves a
//! process: the container's process is born in its cgroup.

pub mod device_filter;
mod events;
pub mod freeze;
pub mod group;
pub mod owner;
pub mod path;
pub mod remove;

use std::io;
use std::path::PathBuf;

pub use owner::Owner;
pub use path::CgroupPath;

/// Where the hierarchy is mounted.
pub const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// An operation on a cgroup that failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file operation.
    #[error("{op} {}{}", path.display(), hint(op, source))]
    Io {
        /// Operation.
        op: &'static str,
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The container's cgroup exists.
    #[error("cgroup {} exists already: another container has the same linux.cgroupsPath", path.display())]
    Exists {
        /// Directory.
        path: PathBuf,
    },
    /// A process could not be frozen in time.
    #[error("a process in cgroup {} still runs after {seconds} s; look for state D in ps", path.display())]
    Running {
        /// Directory.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The processes do not go on.
    #[error("cgroup {} is still frozen after {seconds} s: write 0 to cgroup.freeze of a cgroup above it", path.display())]
    Frozen {
        /// Directory.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// A cgroup of the name is there, and somebody else made it.
    #[error("cgroup {} was not made for this container, and has processes: not touched", path.display())]
    Stranger {
        /// Directory.
        path: PathBuf,
    },
    /// Processes did not end in time.
    #[error("processes in cgroup {} are still there {seconds} s after SIGKILL; look for state D in ps", path.display())]
    Busy {
        /// Directory.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
}

/// The way out for errnos that are hard to guess.
fn hint(op: &str, source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EBUSY) if op == "write" => {
            " (a cgroup that has processes of its own cannot hand controllers on: use a linux.cgroupsPath below one \
             without)"
        }
        Some(libc::ENOENT) if op == "write" => " (this kernel has no such file, or its controller is not on)",
        _ => "",
    }
}

impl CgroupError {
    pub(crate) fn io(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { op, path, source }
    }

    /// The errno, where the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> nix::errno::Errno {
        use nix::errno::Errno;
        match self {
            Self::Io { source, .. } => Errno::from_raw(source.raw_os_error().unwrap_or(libc::EIO)),
            Self::Exists { .. } => Errno::EEXIST,
            Self::Stranger { .. } => Errno::EPERM,
            Self::Busy { .. } | Self::Running { .. } | Self::Frozen { .. } => Errno::EBUSY,
        }
    }
}
