//! What a directory holds on disk, looked up a part at a time: the supervisor has one thread, and what containers write into a
//! volume, be it millions of files, must not hold it up.
//!
//! By descriptors, so no path is too long and no link is followed, whenever a container puts it there. Mount points are
//! crossed: no container can mount there, and a subvolume, which anybody may make, would be left out with them.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::NixPath;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::fstatat;

use crate::descriptor::{OpenDirectory, open_directory};

/// Bytes in a block of stat(2).
const BLOCK: u64 = 512;

/// How often the way to a directory may branch: how many of those above it may hold others that are still to be looked at.
///
/// Each of them takes three descriptors at most, of the 1024 that a process usually may have. One that holds nothing further takes
/// none, so a plain chain of directories may have any length. What branches more often is made to evade, and to go
/// back to a directory without its descriptor would mean to trust in names and `..`, which a container changes.
pub(super) const BRANCHES_MAX: usize = 128;

/// How far a walk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// There may be more.
    Unfinished,
    /// Everything was counted.
    Finished,
    /// The way to a directory branches more than [`BRANCHES_MAX`] times; what is in it was not counted.
    TooDeep,
}

/// A walk through everything below a directory, which can be interrupted.
///
/// A file with several names counts once: each of them for its part, so that nobody has to remember which files were seen. All are
/// below the directory, as containers cannot link across mounts. What is gone when its turn comes, or cannot be read, does not count.
#[derive(Debug)]
pub(super) struct Walk {
    /// Directories to be read, each below the one before.
    levels: Vec<Level>,
    bytes: u64,
}

impl Walk {
    /// Begins.
    pub(super) fn open(path: &Path) -> Self {
        let top = open_directory(AT_FDCWD, path).ok().and_then(Level::new);
        Self { levels: top.into_iter().collect(), bytes: 0 }
    }

    /// Bytes on disk of what was seen so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Goes on for so many steps at most: one for each name in a directory, and one for its end.
    pub(super) fn go_on(&mut self, n_steps: usize) -> Progress {
        for _step in 0..n_steps {
            let depth = self.levels.len();
            let Some(level) = self.levels.last_mut() else { return Progress::Finished };
            match level.directory.entries.next() {
                Some(Ok(entry)) if [c".", c".."].contains(&entry.file_name()) => {}
                Some(Ok(entry)) => {
                    let (bytes, below) = level.look_at(entry.file_name());
                    self.bytes = self.bytes.saturating_add(bytes);
                    // This directory is still to be read, while the one that has waited is.
                    if let Some(below) = below.and_then(|below| level.waiting.replace(below)) {
                        if depth > BRANCHES_MAX {
                            return Progress::TooDeep;
                        }
                        self.levels.extend(Level::new(below));
                    }
                }
                // Nobody has to come back here.
                Some(Err(_)) | None => {
                    let waiting = level.waiting.take();
                    self.levels.pop();
                    self.levels.extend(waiting.and_then(Level::new));
                }
            }
        }
        Progress::Unfinished
    }
}

/// A directory that is being read.
#[derive(Debug)]
struct Level {
    directory: OpenDirectory,
    /// The directory in it that was found last, to be read once there is another or the end.
    waiting: Option<OwnedFd>,
}

impl Level {
    /// One that can be read.
    fn new(directory: OwnedFd) -> Option<Self> {
        Some(Self { directory: OpenDirectory::new(directory).ok()?, waiting: None })
    }

    /// The bytes of what has this name, and the directory that it is.
    fn look_at<P: NixPath + ?Sized>(&self, name: &P) -> (u64, Option<OwnedFd>) {
        let Ok(stat) = fstatat(&self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { return (0, None) };
        let bytes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK);
        let is_directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
        // What the division loses is less than the names take. The links of a directory are those below it.
        let n_names = if is_directory { 1 } else { stat.st_nlink.max(1) };
        // It may be something else by now.
        let below = is_directory.then(|| open_directory(&self.directory, name).ok()).flatten();
        (bytes / n_names, below)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::{self, File};
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::PathBuf;

    use nix::errno::Errno;
    use nix::fcntl::{OFlag, openat};
    use nix::sys::stat::{Mode, mkdirat};
    use proptest::prelude::*;

    use super::*;
    use crate::removal;

    /// More than any tree here has.
    const ALL: usize = 1_000_000;

    /// Bytes of everything below a directory, found by the plainest means.
    fn sum(directory: &Path) -> u64 {
        sum_unseen(directory, &mut BTreeSet::new())
    }

    /// Those of files that were not seen yet.
    fn sum_unseen(directory: &Path, seen: &mut BTreeSet<(u64, u64)>) -> u64 {
        let mut sum = 0;
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if seen.insert((metadata.dev(), metadata.ino())) {
                sum += metadata.blocks() * BLOCK;
            }
            if metadata.is_dir() {
                sum += sum_unseen(&entry.path(), seen);
            }
        }
        sum
    }

    /// A descriptor of a directory deep below another. Each on the way has these ones in it, and the first to be read leads on.
    fn deepen(top: &Path, depth: usize, names: &[&str]) -> OwnedFd {
        let mut at = open_directory(AT_FDCWD, top).unwrap();
        for _level in 0..depth {
            for name in names {
                mkdirat(&at, *name, Mode::S_IRWXU).unwrap();
            }
            let directory = OpenDirectory::new(at.try_clone().unwrap()).unwrap();
            let mut found = directory.entries.map(|entry| entry.unwrap().file_name().to_owned());
            let first = found.find(|name| ![c".", c".."].contains(&name.as_c_str())).unwrap();
            at = open_directory(&at, first.as_c_str()).unwrap();
        }
        at
    }

    #[test]
    fn data_below_the_longest_path_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().join("top");
        fs::create_dir(&top).unwrap();
        let bottom = deepen(&top, 1500, &["d"]);
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = openat(&bottom, "data", flags, Mode::S_IRWXU).unwrap();
        File::from(file).write_all(&[1; 300_000]).unwrap();
        let mut walk = Walk::open(&top);
        let mut n_open = 0;
        while walk.go_on(1) == Progress::Unfinished {
            n_open = n_open.max(walk.levels.len());
        }
        assert!(walk.bytes() >= 300_000, "{} bytes", walk.bytes());
        assert_eq!(n_open, 1);
        removal::remove_path(&top).unwrap();
    }

    #[test]
    fn a_tree_that_branches_too_often_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        for (depth, progress) in [(BRANCHES_MAX, Progress::Finished), (BRANCHES_MAX + 1, Progress::TooDeep)] {
            let top = scratch.path().join(depth.to_string());
            fs::create_dir(&top).unwrap();
            deepen(&top, depth, &["a", "b"]);
            let mut walk = Walk::open(&top);
            assert_eq!(walk.go_on(ALL), progress, "{depth}");
        }
    }

    #[test]
    fn links_are_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let (top, big) = (scratch.path().join("top"), scratch.path().join("big"));
        fs::create_dir(&top).unwrap();
        fs::create_dir(&big).unwrap();
        fs::write(big.join("data"), vec![1; 1_000_000]).unwrap();
        symlink(&big, top.join("link")).unwrap();
        let mut walk = Walk::open(&top);
        assert_eq!(walk.go_on(ALL), Progress::Finished);
        assert!(walk.bytes() < 100_000, "{} bytes", walk.bytes());
        // As when a directory was there a moment ago.
        let directory = open_directory(AT_FDCWD, &top).unwrap();
        assert_eq!(open_directory(&directory, "link").unwrap_err(), Errno::ENOTDIR);
        assert_eq!(Walk::open(&top.join("link")).go_on(ALL), Progress::Finished);
    }

    #[test]
    fn a_file_with_many_names_counts_once() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, vec![1; 1_000_000]).unwrap();
        fs::create_dir(scratch.path().join("below")).unwrap();
        for n in 0..9 {
            fs::hard_link(&file, scratch.path().join(format!("below/{n}"))).unwrap();
        }
        let mut walk = Walk::open(scratch.path());
        assert_eq!(walk.go_on(ALL), Progress::Finished);
        let lost = sum(scratch.path()) - walk.bytes();
        assert!(walk.bytes() >= 1_000_000 && lost < 10, "{} bytes, {lost} lost", walk.bytes());
    }

    #[test]
    fn a_walk_goes_on_where_it_was() {
        let scratch = tempfile::tempdir().unwrap();
        for n in 0..98 {
            fs::write(scratch.path().join(n.to_string()), "x").unwrap();
        }
        let whole = sum(scratch.path());
        let mut walk = Walk::open(scratch.path());
        let mut seen = vec![0];
        // With `.` and `..` there are 100 names.
        for _turn in 0..10 {
            assert_eq!(walk.go_on(10), Progress::Unfinished);
            seen.push(walk.bytes());
        }
        assert!(seen.is_sorted() && seen[5] < whole, "{seen:?}");
        assert_eq!(walk.bytes(), whole);
        assert_eq!((walk.go_on(10), walk.bytes()), (Progress::Finished, whole));
    }

    #[test]
    fn a_directory_that_is_moved_while_it_is_read_keeps_its_place() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().join("top");
        for name in ["a/x/y", "b/x/y", "c/x/y"] {
            fs::create_dir_all(top.join(name)).unwrap();
            fs::write(top.join(name).join("data"), vec![1; 10_000]).unwrap();
        }
        let whole = sum(&top);
        let mut walk = Walk::open(&top);
        while walk.levels.len() < 2 {
            assert_eq!(walk.go_on(1), Progress::Unfinished);
        }
        fs::rename(&top, scratch.path().join("moved")).unwrap();
        assert_eq!((walk.go_on(ALL), walk.bytes()), (Progress::Finished, whole));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_walk_finds_what_the_plain_sum_does(
            nodes in prop::collection::vec((any::<prop::sample::Index>(), 0..5u8, 0..9000usize), 0..60),
            n_steps in 1..20usize,
        ) {
            let scratch = tempfile::tempdir().unwrap();
            let mut directories: Vec<PathBuf> = vec![scratch.path().to_owned()];
            let mut file: Option<PathBuf> = None;
            for (number, (parent, kind, length)) in nodes.iter().enumerate() {
                let path = parent.get(&directories).join(number.to_string());
                match (kind, &file) {
                    (0, Some(file)) => fs::hard_link(file, path).unwrap(),
                    (0 | 1, _) => {
                        fs::write(&path, vec![1; *length]).unwrap();
                        file = Some(path);
                    }
                    (2, _) => symlink(scratch.path(), path).unwrap(),
                    _ => {
                        fs::create_dir(&path).unwrap();
                        directories.push(path);
                    }
                }
            }
            let mut walk = Walk::open(scratch.path());
            while walk.go_on(n_steps) == Progress::Unfinished {}
            let lost = sum(scratch.path()) - walk.bytes();
            prop_assert!(lost <= nodes.len() as u64, "{lost} lost");
            prop_assert_eq!(walk.go_on(1), Progress::Finished);
        }
    }
}
