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

/// What was found in a hierarchy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The root first.
    pub cgroups: Vec<Cgroup>,
    /// A cgroup that keeps what is below it to itself: who has it can take our permission, or make its paths too long (path_resolution(7)).
    pub hidden: Option<PathBuf>,
}

/// The hierarchy below a mount point; who is removed meanwhile is left out.
///
/// # Errors
/// When the root cannot be read, or a directory for a reason that its owner has no part in.
pub fn walk(mount_point: &Path) -> Result<Tree, TreeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TreeError { path, source }
    };
    let root = fs::metadata(mount_point).map_err(failed(mount_point))?;
    let mut found = vec![Cgroup { id: root.ino(), path: PathBuf::new() }];
    let (mut next, mut hidden) = (0, None);
    while let Some(parent) = found.get(next).map(|cgroup| cgroup.path.clone()) {
        next += 1;
        let directory = mount_point.join(&parent);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) && next > 1 => continue,
            Err(error) if is_hidden(&error) && next > 1 => {
                hidden.get_or_insert(parent);
                continue;
            }
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
    Ok(Tree { cgroups: found, hidden })
}

/// By whoever has the directory.
pub(super) fn is_hidden(error: &io::Error) -> bool {
    let numbers = [nix::libc::EACCES, nix::libc::ENAMETOOLONG];
    error.raw_os_error().is_some_and(|number| numbers.contains(&number))
}

/// Removed while it was looked at: the path is gone, or the open directory is dead.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ENODEV)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use nix::fcntl::{OFlag, openat};
    use nix::sys::stat::{Mode, mkdirat};

    use super::*;

    #[test]
    fn directories_are_cgroups_and_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::create_dir(dir.path().join("c")).unwrap();
        fs::write(dir.path().join("a/cgroup.procs"), "").unwrap();
        let Tree { cgroups: mut found, hidden } = walk(dir.path()).unwrap();
        assert_eq!(hidden, None);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let paths: Vec<_> = found.iter().map(|cgroup| cgroup.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["", "a", "a/b", "c"]);
        let inode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().ino();
        assert!(found.iter().all(|cgroup| cgroup.id == inode(cgroup.path.to_str().unwrap())));
    }

    #[test]
    fn what_lies_too_deep_hides_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let name = "d".repeat(250);
        let mut deepest: OwnedFd = File::open(dir.path()).unwrap().into();
        for _level in 0..20 {
            mkdirat(&deepest, name.as_str(), Mode::S_IRWXU).unwrap();
            deepest = openat(&deepest, name.as_str(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        }
        let Tree { cgroups, hidden } = walk(dir.path()).unwrap();
        assert!(cgroups.iter().any(|cgroup| cgroup.path == Path::new("a/b")), "{cgroups:?}");
        let hidden = hidden.unwrap();
        assert!(dir.path().join(&hidden).as_os_str().len() > 4000, "{}", hidden.display());
    }

    #[test]
    fn a_missing_root_is_named() {
        let error = walk(Path::new("/nonexistent/cgroup")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the cgroup /nonexistent/cgroup");
    }
}
