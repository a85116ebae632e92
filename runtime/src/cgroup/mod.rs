//! Control groups, version 2 only (the kernel's cgroup-v2 document).
//!
//! Owns the container's cgroup: its path ([`path`]), making and limiting it ([`group`]), killing what is in it and
//! removing it ([`remove`]). It never moves a process: the container's process is born in its cgroup.

pub mod group;
pub mod path;
pub mod remove;

use std::io;
use std::path::PathBuf;

pub use path::CgroupPath;

/// Where the hierarchy is mounted.
pub const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// An operation on a cgroup that failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file operation.
    #[error("{op} {}{}", path.display(), hint(source))]
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
fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EBUSY) => {
            " (a cgroup that has processes of its own cannot hand controllers on: use a linux.cgroupsPath below one \
             without)"
        }
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
            Self::Busy { .. } => Errno::EBUSY,
        }
    }
}
