//! Reads with a limit.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::MetadataError;

/// The largest file that is read: 1 MiB.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// The most entries of a directory that are read; the kubelet runs 110 pods on a node by default.
pub const MAX_ENTRIES: usize = 10_000;

/// The names in a directory in order, none when it does not exist; what goes wrong becomes a fault.
pub(super) fn names(directory: &Path, faults: &mut Vec<MetadataError>) -> Vec<OsString> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            faults.push(MetadataError::io("list", directory)(error));
            return Vec::new();
        }
        Ok(entries) => entries,
    };
    let mut names = Vec::new();
    for entry in entries {
        if names.len() == MAX_ENTRIES {
            faults.push(MetadataError::TooMany { path: directory.to_owned(), max: MAX_ENTRIES });
            break;
        }
        match entry {
            Ok(entry) => names.push(entry.file_name()),
            Err(error) => {
                faults.push(MetadataError::io("list", directory)(error));
                break;
            }
        }
    }
    names.sort();
    names
}

/// The contents of a regular file; `None` when it does not exist.
///
/// # Errors
/// The failed operation, another kind of file, or a file that is too large.
pub(super) fn contents(path: &Path) -> Result<Option<Vec<u8>>, MetadataError> {
    // Before the open, which waits at a FIFO.
    match fs::symlink_metadata(path) {
        // ENOTDIR: what should be the directory is a file, so there is none in it.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(MetadataError::io("look at", path)(error)),
        Ok(metadata) if !metadata.is_file() => return Err(MetadataError::NotAFile { path: path.to_owned() }),
        Ok(_) => {}
    }
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        result => result.map_err(MetadataError::io("open", path))?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(MetadataError::io("read", path))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(MetadataError::TooLarge { path: path.to_owned(), max_bytes: MAX_FILE_BYTES });
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_absent_is_empty() {
        let mut faults = Vec::new();
        assert!(names(Path::new("/nonexistent/x"), &mut faults).is_empty());
        assert!(faults.is_empty());
    }

    #[test]
    fn a_directory_is_read_to_the_limit() {
        let root = tempfile::tempdir().unwrap();
        for index in 0..=MAX_ENTRIES {
            File::create(root.path().join(index.to_string())).unwrap();
        }
        let mut faults = Vec::new();
        assert_eq!(names(root.path(), &mut faults).len(), MAX_ENTRIES);
        assert!(matches!(faults[..], [MetadataError::TooMany { max: MAX_ENTRIES, .. }]));
    }

    #[test]
    fn a_file_is_read_to_the_limit() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("f");
        assert!(contents(&path).unwrap().is_none());
        assert!(contents(&path.join("below")).unwrap().is_none());
        let size = usize::try_from(MAX_FILE_BYTES).unwrap();
        fs::write(&path, vec![b' '; size]).unwrap();
        assert_eq!(contents(&path).unwrap().unwrap().len(), size);
        assert!(contents(&path.join("below")).unwrap().is_none());
        fs::write(&path, vec![b' '; size + 1]).unwrap();
        assert!(matches!(contents(&path), Err(MetadataError::TooLarge { .. })));
    }

    #[test]
    fn other_kinds_of_files_are_refused() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(contents(root.path()), Err(MetadataError::NotAFile { .. })));
        let link = root.path().join("link");
        std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
        assert!(matches!(contents(&link), Err(MetadataError::NotAFile { .. })));
    }
}
