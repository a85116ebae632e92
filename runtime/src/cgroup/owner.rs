//! Whose cgroup it is: each container's has a mark with the path of its state directory.
//!
//! With it, nothing is killed on the word of a state file alone, and what belongs to a container is found without one.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::events::Events;
use super::remove::tree;
use super::{CgroupError, CgroupPath, MOUNT_POINT};
use crate::sys::xattr;

const OWNER: &CStr = c"trusted.podrt.container";

/// The state directory of a container, absolute and without links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner(PathBuf);

impl Owner {
    /// An owner.
    #[must_use]
    pub fn new(state_directory: PathBuf) -> Self {
        Self(state_directory)
    }

    /// The state directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0
    }

    pub(super) fn mark(&self, cgroup: &Path) -> Result<(), CgroupError> {
        xattr::set(cgroup, OWNER, self.0.as_os_str().as_bytes())
            .map_err(|errno| CgroupError::io("mark", cgroup)(errno.into()))
    }

    fn of(cgroup: &Path) -> Option<Self> {
        xattr::get(cgroup, OWNER).map(|value| Self(PathBuf::from(OsStr::from_bytes(&value))))
    }

    /// Whose a cgroup is.
    ///
    /// # Errors
    /// [`CgroupError::Stranger`] when it has no mark, and processes.
    pub fn claim(&self, path: &CgroupPath) -> Result<Claim, CgroupError> {
        let directory = path.directory();
        match Self::of(&directory) {
            Some(mark) if mark == *self => Ok(Claim::Own),
            Some(_) => Ok(Claim::Others),
            None if !directory.exists() => Ok(Claim::Gone),
            None if is_populated(&directory)? => Err(CgroupError::Stranger { path: directory }),
            None => Ok(Claim::Unmarked),
        }
    }

    /// True when there is such a cgroup, and it is this container's.
    #[must_use]
    pub fn is_own(&self, path: &CgroupPath) -> bool {
        Self::of(&path.directory()).as_ref() == Some(self)
    }
}

/// Whose a cgroup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It has this container's mark.
    Own,
    /// It has the mark of another container, which has come to its path since.
    Others,
    /// It has no mark and no processes: a create was interrupted between making and marking.
    Unmarked,
    /// There is none.
    Gone,
}

/// True when a process is in the cgroup or below.
///
/// # Errors
/// The failed read.
pub fn is_populated(directory: &Path) -> Result<bool, CgroupError> {
    match Events::open(directory)? {
        Some(mut events) => Ok(!events.has("populated 0")?),
        None => Ok(false),
    }
}

/// Every cgroup of the hierarchy that has a mark, with its owner.
///
/// # Errors
/// The failed read.
pub fn marked() -> Result<Vec<(CgroupPath, Owner)>, CgroupError> {
    let directories = tree(Path::new(MOUNT_POINT))?.into_iter();
    Ok(directories
        .filter_map(|directory| Some((CgroupPath::of_directory(&directory)?, Owner::of(&directory)?)))
        .collect())
}
