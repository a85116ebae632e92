//! The layers below the one that is unpacked, as overlayfs will see them.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use runtime::sys::xattr;

use super::open_directory;
use crate::descriptor::fd_path;

/// Attribute of a directory that hides those of the same name below (overlayfs, "whiteouts and opaque directories").
pub(super) const OPAQUE: &std::ffi::CStr = c"trusted.overlay.opaque";

/// The layers below, of which the highest that has a name tells what it is.
#[derive(Debug, Default)]
pub struct Lower {
    /// Highest first.
    layers: Vec<Rc<OwnedFd>>,
}

impl Lower {
    /// Opens layers, which are given lowest first.
    ///
    /// # Errors
    /// The layer that cannot be opened, and why.
    pub fn open(layers: &[PathBuf]) -> Result<Self, (PathBuf, Errno)> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let open = |path: &PathBuf| match openat(AT_FDCWD, path, flags, Mode::empty()) {
            Ok(layer) => Ok(Rc::new(layer)),
            Err(errno) => Err((path.clone(), errno)),
        };
        Ok(Self { layers: layers.iter().rev().map(open).collect::<Result<_, _>>()? })
    }

    /// What has this path, which has no links and no `..`; the empty path is the root.
    ///
    /// # Errors
    /// The failed system call.
    pub(super) fn find(&self, path: &Path) -> Result<Option<FileStat>, Errno> {
        let mut merged = self.layers.clone();
        let mut found = merged.first().map(fstat).transpose()?;
        let mut components = path.iter().peekable();
        while let Some(name) = components.next() {
            (found, merged) = step(&merged, name, components.peek().is_some())?;
        }
        Ok(found)
    }
}

/// What a name is in a merged directory, and, when it is to be entered, the directories that are merged there.
fn step(
    merged: &[Rc<OwnedFd>],
    name: &OsStr,
    is_entered: bool,
) -> Result<(Option<FileStat>, Vec<Rc<OwnedFd>>), Errno> {
    let (mut found, mut inner) = (None, Vec::new());
    for dir in merged {
        let stat = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => continue,
            stat => stat?,
        };
        if is_whiteout(&stat) {
            break;
        }
        found.get_or_insert(stat);
        if kind(&stat) != SFlag::S_IFDIR || !is_entered {
            break;
        }
        let opened = open_directory(dir, name)?;
        let ends_here = is_opaque(&opened);
        inner.push(Rc::new(opened));
        if ends_here {
            break;
        }
    }
    Ok((found, inner))
}

/// True for a directory that hides those below.
pub(in super::super) fn is_opaque(dir: impl AsFd) -> bool {
    xattr::get(&fd_path(dir), OPAQUE).is_some_and(|value| value == b"y")
}

/// The type of a file.
pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// True for a character device 0:0.
pub(super) fn is_whiteout(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}
