//! Removes trees, by descriptors: no link is followed.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use nix::NixPath;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Removes what has this name, a single component, in a directory, with all that is in it. Nothing there is no error.
///
/// # Errors
/// The first failure; the rest is still there.
pub(in super::super) fn remove<P: NixPath + ?Sized>(dir: BorrowedFd<'_>, name: &P) -> Result<(), Errno> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => {}
        Err(Errno::ENOENT) => return Ok(()),
        result => return result,
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    empty(Dir::openat(dir, name, flags, Mode::empty())?)?;
    unlinkat(dir, name, UnlinkatFlags::RemoveDir)
}

/// Removes all that is in a directory.
///
/// # Errors
/// The first failure.
pub(in super::super) fn empty(mut dir: Dir) -> Result<(), Errno> {
    let names: Vec<CString> =
        dir.iter().map(|entry| Ok(entry?.file_name().to_owned())).collect::<Result<_, Errno>>()?;
    for name in names.iter().filter(|name| ![c".", c".."].contains(&name.as_c_str())) {
        remove(dir.as_fd(), name.as_c_str())?;
    }
    Ok(())
}
