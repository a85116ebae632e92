//! Descriptors where a path is wanted, and directories by descriptors.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::NixPath;
use nix::dir::{Dir, OwningIter};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

/// Where this process finds its descriptors.
pub(crate) const FDS: &str = "/proc/self/fd";

/// The path that leads to an open file and to nothing else, for calls that take no descriptor.
pub(crate) fn fd_path(fd: impl AsFd) -> PathBuf {
    Path::new(FDS).join(fd.as_fd().as_raw_fd().to_string())
}

/// Opens a directory, and nothing that is or leads to something else.
pub(crate) fn open_directory<P: NixPath + ?Sized>(at: impl AsFd, name: &P) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

/// A directory that is being read while what is in it is looked at, or changed. It takes two descriptors.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    fd: OwnedFd,
    /// Those that are still to be read.
    pub(crate) entries: OwningIter,
}

impl OpenDirectory {
    /// One that is read from where its descriptor is, which is the beginning when it was just opened.
    pub(crate) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        // The iterator that owns its directory lends no descriptor; the other one begins anew each time.
        let own = fd.try_clone().map_err(|error| Errno::try_from(error).unwrap_or(Errno::EINVAL))?;
        Ok(Self { fd, entries: Dir::from_fd(own)?.into_iter() })
    }

    /// Begins anew.
    pub(crate) fn read_again(&mut self) -> Result<(), Errno> {
        self.entries = Dir::from_fd(open_directory(&self.fd, c".")?)?.into_iter();
        Ok(())
    }
}

impl AsFd for OpenDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
