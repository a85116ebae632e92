//! What people call containers: namespaces, pods and containers by name, from files of the node.
//!
//! Two sources, read whole each time: the names of the kubelet's log files ([`log_dir`]), and podrt's state ([`podrt`]); and a
//! CRI runtime ([`cri`]) that is asked when an option names its socket.
//! A source that is absent knows nothing, which is no error. What is damaged is left out and told of in a list of faults, so that
//! one file never hides the others. No read is longer than [`MAX_FILE_BYTES`] or [`MAX_ENTRIES`].
//!
//! All names are checked to be those that the Kubernetes API takes. They belong to the node's root; a name for an identity that
//! is delegated must not be taken from here.

mod bounded;
pub mod cri;
pub mod log_dir;
pub mod podrt;

use std::io;
use std::path::PathBuf;

pub use bounded::{MAX_ENTRIES, MAX_FILE_BYTES};

/// Something that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// A file operation.
    #[error("cannot {op} {}", path.display())]
    Io {
        /// Operation.
        op: &'static str,
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory has more entries than are read; the rest is not known.
    #[error("{} has more than {max} entries; the others are left out", path.display())]
    TooMany {
        /// Directory.
        path: PathBuf,
        /// How many were read.
        max: usize,
    },
    /// A file is larger than any that is read.
    #[error("{} has more than {max_bytes} bytes", path.display())]
    TooLarge {
        /// File.
        path: PathBuf,
        /// How many would have been read.
        max_bytes: u64,
    },
    /// A file is not a regular one.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// A file cannot be understood.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A CRI runtime does not answer, or answers otherwise than the API says.
    #[error("cannot list the containers of the runtime at {}: {what}", socket.display())]
    Cri {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        what: String,
    },
    /// A file is well-formed, and what it says cannot be.
    #[error("{} is damaged: its {what}", path.display())]
    Invalid {
        /// File.
        path: PathBuf,
        /// What is wrong with which field.
        what: &'static str,
    },
}

impl MetadataError {
    fn io(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { op, path, source }
    }
}
