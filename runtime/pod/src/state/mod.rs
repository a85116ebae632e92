//! What is remembered about a pod: one directory each.
//!
//! ```text
//! ROOT/images/                   unpacked layers
//! ROOT/network/                  leases of addresses
//! ROOT/pods/POD/                 locked with flock(2) while a command changes the pod
//! ROOT/pods/POD/pod.json         what was asked, and for which boot; written first, never changed
//! ROOT/pods/POD/supervisor.json  which process the supervisor is
//! ROOT/pods/POD/status.json      what the supervisor knows; replaced atomically
//! ROOT/pods/POD/control.sock     where it takes requests
//! ROOT/pods/POD/containers/      a state root of the container layer: `podrt --root` works on it
//! ROOT/pods/POD/bundles/C/       bundle and writable layer of a container
//! ROOT/pods/POD/volumes/V/       emptyDir volumes on disk
//! ROOT/pods/POD/etc/             hosts, hostname, resolv.conf
//! ROOT/pods/POD/logs/C/N.log     output of the Nth run of a container
//! ```
//!
//! Mounts are nowhere among these: they are in the supervisor's own mount namespace and go with it.

pub mod record;
pub mod store;

use std::io;
use std::path::PathBuf;

pub use record::{NetworkMode, PodRecord, PodReport, StoredImage};
pub use store::{PodDir, PodRoot};

/// An operation on a pod's directory that failed.
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
    /// The name is taken.
    #[error("pod {name} exists already (in {}); remove it first with podrt pod rm {name}, or change metadata.name", root.display())]
    Exists {
        /// Pod.
        name: String,
        /// Root.
        root: PathBuf,
    },
    /// No such pod.
    #[error("pod {name} does not exist (in {}); podrt pod ps lists those that do", root.display())]
    Unknown {
        /// Pod.
        name: String,
        /// Root.
        root: PathBuf,
    },
    /// Another command has the pod for long.
    #[error(
        "pod {name} is locked by {holder} since {seconds} s or more; wait for its end, or end it, and try again"
    )]
    Busy {
        /// Pod.
        name: String,
        /// Who has the lock.
        holder: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A file cannot be understood.
    #[error("{} is damaged; podrt pod rm --force removes what can be found", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The name cannot be one of a pod.
    #[error("{name:?} is not the name of a pod: it {fault}")]
    Name {
        /// As given.
        name: String,
        /// Why not.
        fault: &'static str,
    },
}

impl StateError {
    pub(crate) fn io(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { op, path, source }
    }
}
