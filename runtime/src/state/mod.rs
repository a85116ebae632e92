//! What is remembered about a container: one directory each below the state root.
//!
//! ```text
//! ROOT/ID/            locked with flock(2) while a command changes the container
//! ROOT/ID/state.json  replaced atomically (rename(2))
//! ROOT/ID/config.json a copy of the bundle's, for later execs
//! ROOT/ID/barrier     locked by the container's process until it executes the program
//! ROOT/ID/start.sock  where that process waits for `start`
//! ```
//!
//! Fields may be added to the state file: what a reader does not know it ignores, and what a writer did not know has a default.
//!
//! The status is never stored: it is read from the process each time ([`status`]), so it cannot be out of date.

pub mod document;
pub mod status;
pub mod store;
pub mod time;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use document::StateDocument;
pub use status::{ProcessIdentity, Status};
pub use store::{ContainerDir, StateRoot};

use crate::cgroup::CgroupPath;
use crate::spec::{Hooks, SeccompListener};

/// A container, as `create` left it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// `ociVersion` of the bundle.
    pub oci_version: String,
    /// Container id.
    pub id: String,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The root file system on the host.
    pub rootfs: PathBuf,
    /// When it was created (RFC 3339, UTC).
    pub created: String,
    /// Annotations of the bundle.
    pub annotations: BTreeMap<String, String>,
    /// The container's cgroup.
    pub cgroup: CgroupPath,
    /// The hooks that are still to be run: `poststart` and `poststop`.
    #[serde(default)]
    pub hooks: Hooks,
    /// Who is told by `start` when the system call filter is loaded.
    #[serde(default)]
    pub seccomp_listener: Option<SeccompListener>,
    /// The cgroups above it that were missing, which its create makes and marks; until then they are known by this only.
    #[serde(default)]
    pub missing_cgroups: Vec<PathBuf>,
    /// The container's process; `None` until `create` is done.
    pub process: Option<ProcessIdentity>,
    /// Where `create` writes, or was about to write, the pid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<PathBuf>,
}

/// An operation on a state directory that failed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file operation.
    #[error("{op} {}", path.display())]
    Io {
        /// Operation.
        op: &'static str,
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The id is taken.
    #[error("container {id} exists already (in {}); delete it first, or choose another id", root.display())]
    Exists {
        /// Container id.
        id: String,
        /// State root.
        root: PathBuf,
    },
    /// No such container.
    #[error("container {id} does not exist (in {})", root.display())]
    Unknown {
        /// Container id.
        id: String,
        /// State root.
        root: PathBuf,
    },
    /// Another command has the container for long.
    #[error(
        "container {id} is locked by {holder} since {seconds} s or more; wait for its end, or end it, and try again"
    )]
    Busy {
        /// Container id.
        id: String,
        /// Who has the lock.
        holder: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The state file belongs to another container.
    #[error("state file {} is that of container {id:?}; podrt delete --force removes what belongs to this one", path.display())]
    Foreign {
        /// File.
        path: PathBuf,
        /// Id in the file.
        id: String,
    },
    /// The state file cannot be understood.
    #[error("state file {} is damaged; podrt delete --force removes what can be found", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
}

impl StateError {
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
            Self::Unknown { .. } => Errno::ENOENT,
            Self::Damaged { .. } | Self::Foreign { .. } => Errno::EINVAL,
        }
    }
}
