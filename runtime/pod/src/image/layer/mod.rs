//! Unpacks a layer into a directory that overlayfs can take as one of its lower ones.
//!
//! A layer is a tar archive of what changed (image-spec, "Image Layer Filesystem Changeset"). Names of entries are those of an
//! enemy: each component is opened relative to the descriptor of the directory before it, with openat2(2) and
//! `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`. A link that leads to the directory of an entry is followed here, with the layer's root as `/`,
//! as Docker and containerd do; so nothing outside of the directory is ever reached.
//!
//! What differs from plain unpacking, so that overlayfs shows what the image means:
//!
//! - A whiteout `.wh.NAME` becomes a character device 0:0, if a layer below has the name: in a directory of one layer only,
//!   overlayfs would list it. Whiteouts concern the layers below only, wherever in the archive they are.
//! - An opaque whiteout becomes the attribute `trusted.overlay.opaque`, and so does a whiteout of a directory that the same
//!   layer has.
//! - A directory without an entry of its own has the owner, the mode and the time that it has in the layers below.
//! - Attributes `trusted.*` are never taken from an archive; of the rest, `user.*` and `security.capability` are.

mod lower;
mod names;
mod tree;
mod whiteouts;
mod write;

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

pub(super) use crate::removal::{empty, remove};
pub use lower::Lower;
pub(super) use lower::is_opaque;
use tree::Tree;

use super::limits::{Budget, LimitExceeded};
use super::members::{ArchiveError, Members, Stream, shown};

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive is damaged, or cannot be read.
    #[error(transparent)]
    Archive(ArchiveError),
    /// An entry that no layer may have.
    #[error("entry {name}: {reason}")]
    Refused {
        /// Name of the entry, escaped.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A limit was reached.
    #[error("entry {name}: {source}")]
    Limit {
        /// Name of the entry, escaped.
        name: String,
        /// The limit.
        source: LimitExceeded,
    },
    /// A system call for an entry.
    #[error("entry {name}: cannot {op}")]
    Io {
        /// Name of the entry, escaped.
        name: String,
        /// Operation.
        op: &'static str,
        /// Why.
        source: Errno,
    },
}

impl LayerError {
    /// The limit that was reached, if that is why.
    #[must_use]
    pub fn limit(&self) -> Option<LimitExceeded> {
        match self {
            Self::Limit { source, .. } | Self::Archive(ArchiveError::Limit(source)) => Some(*source),
            _ => None,
        }
    }
}

/// Unpacks an archive into an empty directory, which nobody else changes meanwhile. After a failure the directory has remains of it.
///
/// # Errors
/// The first entry that is refused, or fails.
pub fn unpack(
    archive: impl Read,
    into: BorrowedFd<'_>,
    lower: &Lower,
    budget: &mut Budget,
) -> Result<(), LayerError> {
    let of_root = |trouble: Trouble| trouble.of(b"./");
    let mut members = Members::new(Stream(archive));
    let mut tree = Tree::new(into, lower, budget).map_err(of_root)?;
    let mut buffer = vec![0; 128 << 10];
    while let Some(member) = members.next(budget).map_err(LayerError::Archive)? {
        let placed = tree.place(&member, &mut members, &mut buffer, budget);
        placed.map_err(|trouble| trouble.of(&member.name))?;
    }
    members.finish(budget).map_err(LayerError::Archive)?;
    tree.finish().map_err(|(path, trouble)| trouble.of(path.as_os_str().as_encoded_bytes()))
}

/// A [`LayerError`] that does not know its entry yet.
#[derive(Debug)]
enum Trouble {
    Refused(String),
    Failed { op: &'static str, errno: Errno },
    Limit(LimitExceeded),
    Archive(ArchiveError),
}

impl Trouble {
    fn of(self, name: &[u8]) -> LayerError {
        let name = shown(name);
        match self {
            Self::Refused(reason) => LayerError::Refused { name, reason },
            Self::Failed { op, errno } => LayerError::Io { name, op, source: errno },
            Self::Limit(source) => LayerError::Limit { name, source },
            Self::Archive(source) => LayerError::Archive(source),
        }
    }
}

impl From<LimitExceeded> for Trouble {
    fn from(source: LimitExceeded) -> Self {
        Self::Limit(source)
    }
}

/// A failed system call, by what it was for.
fn failed(op: &'static str) -> impl FnOnce(Errno) -> Trouble {
    move |errno| Trouble::Failed { op, errno }
}

/// Opens a path below a directory. No link is followed, and the path cannot leave the directory or its file system.
fn open_at<P: NixPath + ?Sized>(
    dir: impl AsFd,
    path: &P,
    flags: OFlag,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).mode(mode).resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV,
    );
    openat2(dir, path, how)
}

/// Opens a directory below another; the empty path is the directory itself.
fn open_directory<P: NixPath + ?Sized>(dir: impl AsFd, path: &P) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    if path.is_empty() {
        open_at(dir, ".", flags, Mode::empty())
    } else {
        open_at(dir, path, flags, Mode::empty())
    }
}
