//! Removes trees, by descriptors: no link is followed. A tree may be deeper than a process may have descriptors, or a path bytes.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::NixPath;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::descriptor::{OpenDirectory, open_directory};

/// How many directories of a tree are open at one time, with two descriptors each. What is deeper is moved up.
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
pub fn empty(top: OwnedFd) -> Result<(), Errno> {
    let mut emptying = Emptying::new(top)?;
    while !emptying.go_on(usize::MAX)? {}
    Ok(())
}

/// The removal of all that is in a directory, which can be interrupted.
#[derive(Debug)]
pub struct Emptying {
    /// Directories that are being removed, each below the one before; the first stays.
    levels: Vec<Level>,
    n_moved: u64,
}

impl Emptying {
    /// Begins.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(top: OwnedFd) -> Result<Self, Errno> {
        Ok(Self { levels: vec![Level::new(top, CString::default())?], n_moved: 0 })
    }

    /// Begins with what is at a path.
    ///
    /// # Errors
    /// It is no directory, or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Errno> {
        Self::new(open_directory(AT_FDCWD, path)?)
    }

    /// Goes on for so many steps at most, one for each name in a directory and one for its end; true when nothing is left.
    ///
    /// # Errors
    /// The first failure; the rest is still there.
    pub fn go_on(&mut self, n_steps: usize) -> Result<bool, Errno> {
        for _step in 0..n_steps {
            let depth = self.levels.len();
            let Some(level) = self.levels.last_mut() else { return Ok(true) };
            let Some(entry) = level.directory.entries.next() else {
                self.leave()?;
                continue;
            };
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            level.has_changed = true;
            if depth == DEPTH_MAX {
                self.remove_or_move_up(name)?;
            } else if let Some(below) = unlink(level.directory.as_fd(), name)? {
                self.levels.push(Level::new(below, name.to_owned())?);
            }
        }
        Ok(self.levels.is_empty())
    }

    /// Removes the directory that was read to its end, unless it is the first.
    fn leave(&mut self) -> Result<(), Errno> {
        let Some(mut level) = self.levels.pop() else { return Ok(()) };
        // A directory from which names go while it is read need not have told all of them. The first has also got what was too deep.
        match self.levels.last() {
            Some(above) => {
                match unlinkat(&above.directory, level.name.as_c_str(), UnlinkatFlags::RemoveDir) {
                    Err(Errno::ENOTEMPTY) if level.has_changed => {}
                    result => return result,
                }
            }
            None if level.has_changed => {}
            None => return Ok(()),
        }
        level.read_again()?;
        self.levels.push(level);
        Ok(())
    }

    /// Removes what has this name in the last level; moves it to the first when it is a directory.
    fn remove_or_move_up(&mut self, name: &CStr) -> Result<(), Errno> {
        let [top, .., last] = self.levels.as_slice() else { return Ok(()) };
        match unlinkat(&last.directory, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => {
                move_up(last.directory.as_fd(), name, top.directory.as_fd(), &mut self.n_moved)
            }
            Err(Errno::ENOENT) => Ok(()),
            result => result,
        }
    }
}

/// A directory that is being emptied.
#[derive(Debug)]
struct Level {
    directory: OpenDirectory,
    /// In the level above.
    name: CString,
    /// Something was found since the reading began.
    has_changed: bool,
}

impl Level {
    fn new(directory: OwnedFd, name: CString) -> Result<Self, Errno> {
        Ok(Self { directory: OpenDirectory::new(directory)?, name, has_changed: false })
    }

    fn read_again(&mut self) -> Result<(), Errno> {
        self.directory.read_again()?;
        self.has_changed = false;
        Ok(())
    }
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
fn unlink<P: NixPath + ?Sized>(dir: BorrowedFd<'_>, name: &P) -> Result<Option<OwnedFd>, Errno> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => {}
        Err(Errno::ENOENT) => return Ok(None),
        result => return result.map(|()| None),
    }
    open_directory(dir, name).map(Some)
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

    #[test]
    fn a_removal_goes_on_where_it_was() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        for n in 0..100 {
            fs::write(top.join(n.to_string()), "").unwrap();
            fs::write(top.join("a/b").join(n.to_string()), "").unwrap();
        }
        let n_files = || {
            let n_in = |directory: &Path| fs::read_dir(directory).map_or(0, Iterator::count);
            n_in(&top) + n_in(&top.join("a")) + n_in(&top.join("a/b"))
        };
        let mut emptying = Emptying::open(&top).unwrap();
        let mut seen = vec![n_files()];
        while !emptying.go_on(10).unwrap() {
            seen.push(n_files());
        }
        assert!(seen.windows(2).all(|pair| pair[0] - pair[1] <= 10), "{seen:?}");
        // 200 files, besides what each directory has more: `.`, `..`, and its end.
        assert!((20..25).contains(&seen.len()), "{seen:?}");
        assert_eq!(fs::read_dir(&top).unwrap().count(), 0);
        assert_eq!(emptying.go_on(10), Ok(true));
    }
}
