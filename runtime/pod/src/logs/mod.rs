//! The output of containers, in the format of the CRI, as containerd writes it and the kubelet reads it:
//!
//! ```text
//! 2016-10-06T00:17:09.669794202Z stdout F a line
//! 2016-10-06T00:17:09.669794203Z stderr P the beginning of a long line
//! ```
//!
//! A record has a time, a stream, a tag (`F` ends the line, after `P` it goes on) and bytes as they came. The supervisor writes
//! ([`LogWriter`]), commands read ([`read()`]). A log is `NAME` and what was rotated away from it: `NAME.1`, `NAME.2` and so on,
//! the higher the newer. Unlike the kubelet's names, which hold the second of the rotation, no two of these can be the same;
//! and rotated files are not compressed, but read like the others.
//!
//! Reference: the kubelet's design proposal "CRI: Log management", `internal/cri/io/logger.go` of containerd.

mod files;
mod json;
mod read;
mod record;
mod tail;
mod wait;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use files::{attempt_file, attempts, remove};
pub use read::{Form, Options, Summary, read};
pub use write::{Limits, LogWriter};

/// Where a program wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl Stream {
    const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    fn idx(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// A log that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file operation.
    #[error("{op} {}", path.display())]
    File {
        /// Operation.
        op: &'static str,
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Limits that leave no room.
    #[error("a log of at most {} files of {} bytes holds nothing; both must be at least 1", limits.max_files, limits.max_bytes)]
    Limits {
        /// What was given.
        limits: Limits,
    },
    /// Something else is where the log should be.
    #[error("{} is not a regular file, so it is no log", path.display())]
    NotAFile {
        /// Path.
        path: PathBuf,
    },
    /// There is no log.
    #[error("there is no log {}; the container has not been started, or its log was removed", path.display())]
    Missing {
        /// Path.
        path: PathBuf,
    },
    /// What was read could not be handed on.
    #[error("write to the receiver of {stream}")]
    Receiver {
        /// Which.
        stream: Stream,
        /// Why.
        source: io::Error,
    },
}

impl LogError {
    fn file(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { op, path, source }
    }
}
