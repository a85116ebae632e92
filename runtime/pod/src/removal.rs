//! Removes trees, by descriptors: no link is followed. A tree may be deeper than a process may have descriptors, or a path bytes.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::NixPath;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// How many directories of a tree are open at one time. What is deeper is moved up.
const DEPTH_MAX: usize = 64;

/// Removes what is at a path, with all that is in it. Nothing there is no error.
///
/// # Errors
/// The first failure; the rest is still there.
pub fn remove_path(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    match Dir::open(parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::ENOENT) => Ok(()),
        directory => Ok(remove(directory?.as_fd(), name)?),
    }
}

/// Removes what has this name, a single component, in a directory, with all that is in it. Nothing there is no error.
///
/// # Errors
/// The first failure; the rest is still there.
pub fn remove<P: NixPath + ?Sized>(dir: BorrowedFd<'_>, name: &P) -> Result<(), Errno> {
    let Some(below) = unlink(dir, name)? else { return Ok(()) };
    empty(below)?;
    unlinkat(dir, name, UnlinkatFlags::RemoveDir)
}

/// Removes all that is in a directory.
///
/// # Errors
/// The first failure.
pub fn empty(mut top: Dir) -> Result<(), Errno> {
    let mut n_moved = 0;
    loop {
        let before = n_moved;
        for name in names(&mut top)? {
            remove_below(&name, (top.as_fd(), 1), top.as_fd(), &mut n_moved)?;
        }
        // What was too deep is a level below the top by now.
        if n_moved == before {
            return Ok(());
        }
    }
}

/// Removes what has this name in a directory, which is so deep below the top; of what is too deep, moves it there.
fn remove_below(
    name: &CString,
    (dir, depth): (BorrowedFd<'_>, usize),
    top: BorrowedFd<'_>,
    n_moved: &mut u64,
) -> Result<(), Errno> {
    let name = name.as_c_str();
    if depth == DEPTH_MAX {
        return match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => move_up(dir, name, top, n_moved),
            Err(Errno::ENOENT) => Ok(()),
            result => result,
        };
    }
    let Some(mut below) = unlink(dir, name)? else { return Ok(()) };
    for name in names(&mut below)? {
        remove_below(&name, (below.as_fd(), depth + 1), top, n_moved)?;
    }
    unlinkat(dir, name, UnlinkatFlags::RemoveDir)
}

fn move_up<P: NixPath + ?Sized>(
    dir: BorrowedFd<'_>,
    name: &P,
    top: BorrowedFd<'_>,
    n_moved: &mut u64,
) -> Result<(), Errno> {
    loop {
        *n_moved += 1;
        match renameat2(dir, name, top, format!("deep-{n_moved}").as_str(), RenameFlags::RENAME_NOREPLACE) {
            Err(Errno::EEXIST) => {}
            result => return result,
        }
    }
}

/// Removes what is no directory; opens what is one.
fn unlink<P: NixPath + ?Sized>(dir: BorrowedFd<'_>, name: &P) -> Result<Option<Dir>, Errno> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => {}
        Err(Errno::ENOENT) => return Ok(None),
        result => return result.map(|()| None),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Dir::openat(dir, name, flags, Mode::empty()).map(Some)
}

fn names(dir: &mut Dir) -> Result<Vec<CString>, Errno> {
    dir.iter()
        .map(|entry| Ok(entry?.file_name().to_owned()))
        .filter(|name| !matches!(name.as_deref(), Ok(name) if [c".", c".."].contains(&name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::mkdirat;

    use super::*;

    #[test]
    fn a_tree_deeper_than_there_are_descriptors_goes() {
        let scratch = tempfile::tempdir().unwrap();
        let (top, kept) = (scratch.path().join("top"), scratch.path().join("kept"));
        fs::create_dir(&top).unwrap();
        fs::write(&kept, "kept").unwrap();
        // A name that the removal would choose itself, with something in it.
        fs::create_dir_all(top.join("deep-1/inner")).unwrap();
        let open = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let mut at = Dir::open(&top, open, Mode::empty()).unwrap();
        for _level in 0..3000 {
            mkdirat(&at, "d", Mode::S_IRWXU).unwrap();
            at = Dir::openat(&at, "d", open, Mode::empty()).unwrap();
        }
        symlink(&kept, top.join("d/link")).unwrap();
        remove_path(&top).unwrap();
        assert!(!top.exists());
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
        remove_path(&top).unwrap();
        remove_path(&scratch.path().join("none/below")).unwrap();
    }
}
