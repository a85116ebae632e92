//! All cgroups that there are, by id: the inode of their directory.

use std::fs;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A directory could not be read, and not because it was just removed.
#[derive(Debug, Error)]
#[error("cannot read the cgroup {}", path.display())]
pub struct TreeError {
    path: PathBuf,
    source: io::Error,
}

/// Id of the hierarchy's root (`kernfs_create_root`): a mount of which the root has another one shows a part.
pub(crate) const ROOT_ID: u64 = 1;

/// A cgroup that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// Its id, as `bpf_get_current_cgroup_id` gives it.
    pub id: u64,
    /// Below the mount point; the root is empty.
    pub path: PathBuf,
}

/// The hierarchy below a mount point; who is removed meanwhile is left out.
///
/// # Errors
/// When a directory that is there cannot be read.
pub fn walk(mount_point: &Path) -> Result<Vec<Cgroup>, TreeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TreeError { path, source }
    };
    let root = fs::metadata(mount_point).map_err(failed(mount_point))?;
    let mut found = vec![Cgroup { id: root.ino(), path: PathBuf::new() }];
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|cgroup| cgroup.path.clone()) {
        next += 1;
        let directory = mount_point.join(&parent);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) && next > 1 => continue,
            Err(error) => return Err(failed(&directory)(error)),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if is_gone(&error) => break,
                Err(error) => return Err(failed(&directory)(error)),
            };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push(Cgroup { id: entry.ino(), path: parent.join(entry.file_name()) });
            }
        }
    }
    Ok(found)
}

/// Removed while it was looked at: the path is gone, or the open directory is dead.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ENODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_cgroups_and_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::create_dir(dir.path().join("c")).unwrap();
        fs::write(dir.path().join("a/cgroup.procs"), "").unwrap();
        let mut found = walk(dir.path()).unwrap();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let paths: Vec<_> = found.iter().map(|cgroup| cgroup.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["", "a", "a/b", "c"]);
        let inode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().ino();
        assert!(found.iter().all(|cgroup| cgroup.id == inode(cgroup.path.to_str().unwrap())));
    }

    #[test]
    fn a_missing_root_is_named() {
        let error = walk(Path::new("/nonexistent/cgroup")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the cgroup /nonexistent/cgroup");
    }
}
