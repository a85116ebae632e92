//! The files of a log, and the logs of a container: `DIR/0.log` of its first start, `DIR/1.log` of the next.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::LogError;

/// How often a listing is repeated that a rotation made out of date.
const TRIES: usize = 100;

/// The log of a container's start, counted from 0, in the directory of its logs.
#[must_use]
pub fn attempt_file(dir: &Path, attempt: u32) -> PathBuf {
    dir.join(format!("{attempt}.log"))
}

/// The starts of a container that have a log in the directory, ascending.
///
/// # Errors
/// The failed operation. A directory that does not exist has none.
pub fn attempts(dir: &Path) -> Result<Vec<u32>, LogError> {
    let number = |name: &[u8]| decimal(name.strip_suffix(b".log")?)?.try_into().ok();
    numbers(dir, number).map_err(LogError::file("list", dir))
}

/// Removes a log with its rotated files.
///
/// # Errors
/// The failed operation. What does not exist is fine.
pub fn remove(path: &Path) -> Result<(), LogError> {
    // The newest first: what an interruption leaves is found by its number.
    let mut paths = vec![replacement(path), path.to_owned()];
    let rotated = rotated(path).map_err(LogError::file("list the rotated files of", path))?;
    paths.extend(rotated.into_iter().rev().map(|number| numbered(path, number)));
    for path in paths {
        remove_file(&path).map_err(LogError::file("remove", &path))?;
    }
    Ok(())
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens a file that can only be a regular one: nothing of these names waits, or leads elsewhere.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> Result<File, LogError> {
    let not_a_file = || LogError::NotAFile { path: path.to_owned() };
    let file = match options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EISDIR | libc::ENXIO)) => {
            return Err(not_a_file());
        }
        result => result.map_err(LogError::file("open", path))?,
    };
    let metadata = file.metadata().map_err(LogError::file("look at", path))?;
    if metadata.is_file() { Ok(file) } else { Err(not_a_file()) }
}

/// Opens a file for reading, if it exists.
pub(super) fn open_existing(path: &Path) -> Result<Option<File>, LogError> {
    match open(path, OpenOptions::new().read(true)) {
        Err(LogError::File { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// The file that takes the place of `NAME` in a rotation.
pub(super) fn replacement(path: &Path) -> PathBuf {
    with_suffix(path, "new")
}

/// A rotated file.
pub(super) fn numbered(path: &Path, number: u64) -> PathBuf {
    with_suffix(path, &number.to_string())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(suffix);
    name.into()
}

/// The directory of a log.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The numbers of the rotated files, ascending: the oldest first.
pub(super) fn rotated(path: &Path) -> io::Result<Vec<u64>> {
    let name = path.file_name().unwrap_or_default().as_bytes();
    numbers(directory(path), |found| decimal(found.strip_prefix(name)?.strip_prefix(b".")?))
}

fn numbers<T: Ord>(dir: &Path, number: impl Fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    let mut numbers = Vec::new();
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        entries => {
            for entry in entries? {
                numbers.extend(number(entry?.file_name().as_bytes()));
            }
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A number as it is written in names: without sign or leading zeros, so that no two names have the same.
fn decimal(digits: &[u8]) -> Option<u64> {
    let is_written_so =
        digits == b"0" || (digits.first() != Some(&b'0') && digits.iter().all(u8::is_ascii_digit));
    std::str::from_utf8(digits).ok().filter(|_| is_written_so)?.parse().ok()
}

/// What a file is by, whatever its name; valid while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(file: &File, path: &Path) -> Result<Self, LogError> {
        let metadata = file.metadata().map_err(LogError::file("look at", path))?;
        Ok(Self::from_metadata(&metadata))
    }

    fn from_metadata(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// That of the file of a name now.
    fn at(path: &Path) -> Result<Option<Self>, LogError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            result => Ok(Some(Self::from_metadata(&result.map_err(LogError::file("look at", path))?))),
        }
    }
}

/// A file of a log, open for reading.
#[derive(Debug)]
pub(super) struct LogFile {
    /// What it was called when it was opened.
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) identity: Identity,
}

impl LogFile {
    fn open(path: &Path) -> Result<Option<Self>, LogError> {
        let Some(file) = open_existing(path)? else { return Ok(None) };
        Ok(Some(Self { identity: Identity::of(&file, path)?, file, path: path.to_owned() }))
    }

    pub(super) fn size(&self) -> Result<u64, LogError> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(LogError::file("look at", &self.path))
    }
}

/// All files of a log that are there, the oldest first.
pub(super) fn chain(path: &Path) -> Result<Vec<LogFile>, LogError> {
    let mut files = Vec::new();
    while let Some(file) = next(path, files.last())? {
        files.push(file);
    }
    Ok(files)
}

/// The newest file of a log.
pub(super) fn newest(path: &Path) -> Result<Option<LogFile>, LogError> {
    if let Some(file) = LogFile::open(path)? {
        return Ok(Some(file));
    }
    // In the middle of a rotation, or after one that was interrupted, it has a number.
    match rotated(path).map_err(LogError::file("list the rotated files of", path))?.last() {
        Some(number) => LogFile::open(&numbered(path, *number)),
        None => Ok(None),
    }
}

/// The file that follows another, or the oldest; `None` after the newest.
///
/// A writer adds nothing to a file once that is not `NAME` any more. So when there is a next one, the other is complete.
pub(super) fn next(path: &Path, current: Option<&LogFile>) -> Result<Option<LogFile>, LogError> {
    let list = || rotated(path).map_err(LogError::file("list the rotated files of", path));
    for _ in 0..TRIES {
        let is_current = |identity: Option<Identity>| {
            current.is_some_and(|current| identity.is_some_and(|identity| identity == current.identity))
        };
        if is_current(Identity::at(path)?) {
            return Ok(None);
        }
        // When the current one is not among them, it has been removed, and with it all that were older.
        let mut after = None;
        let numbers = list()?;
        for (idx, number) in numbers.iter().enumerate() {
            if is_current(Identity::at(&numbered(path, *number))?) {
                after = Some(idx);
                break;
            }
        }
        let first = after.map_or(0, |idx| idx + 1);
        if let Some(number) = numbers.get(first) {
            match LogFile::open(&numbered(path, *number))? {
                Some(file) => return Ok(Some(file)),
                None => continue,
            }
        }
        let newest = LogFile::open(path)?;
        // A rotation since the listing may have put another file between.
        if list()? == numbers {
            return Ok(newest);
        }
    }
    Err(LogError::file("follow the rotations of", path)(ErrorKind::ResourceBusy.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_in_the_order_of_their_numbers() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("0.log");
        for name in [
            "0.log",
            "0.log.10",
            "0.log.9",
            "0.log.09",
            "0.log.x",
            "0.log.+1",
            "0.log.",
            "1.log.3",
            "0.log.new",
        ] {
            fs::write(temp.path().join(name), name).unwrap();
        }
        assert_eq!(rotated(&path).unwrap(), [9, 10]);
        let sizes: Vec<u64> = chain(&path).unwrap().iter().map(|file| file.size().unwrap()).collect();
        assert_eq!(sizes, [7, 8, 5]);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 5);
    }

    #[test]
    fn attempts_are_found_by_their_number() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(attempts(&temp.path().join("none")).unwrap(), [] as [u32; 0]);
        for name in ["10.log", "2.log", "2.log.1", "x.log", "02.log", ".log", "99999999999.log"] {
            fs::write(temp.path().join(name), "").unwrap();
        }
        assert_eq!(attempts(temp.path()).unwrap(), [2, 10]);
        assert_eq!(attempt_file(temp.path(), 2), temp.path().join("2.log"));
    }

    #[test]
    fn only_regular_files_are_logs() {
        let temp = tempfile::tempdir().unwrap();
        let (target, link) = (temp.path().join("target"), temp.path().join("link"));
        fs::write(&target, "x").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let fifo = temp.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [&link, &fifo, &temp.path().to_owned()] {
            assert!(matches!(open_existing(path), Err(LogError::NotAFile { .. })), "{}", path.display());
        }
        assert!(open_existing(&temp.path().join("none")).unwrap().is_none());
    }
}
