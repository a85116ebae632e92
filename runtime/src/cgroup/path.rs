//! Paths in the hierarchy.

use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::MOUNT_POINT;
use crate::spec::{ContainerId, SpecError};

/// Parent of the containers whose bundle names no place, or a relative one.
const DEFAULT_PARENT: &str = "/podrt";

/// A cgroup, as an absolute path in the hierarchy; never the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PathBuf")]
pub struct CgroupPath(PathBuf);

impl CgroupPath {
    /// Turns `linux.cgroupsPath` into a path: an absolute one is taken as it is, a relative one starts at `/podrt`,
    /// and without one it is `/podrt/ID`.
    ///
    /// # Errors
    /// The root, a `..`, or the form `slice:prefix:name`, which only systemd understands.
    pub fn resolve(cgroups_path: Option<&Path>, id: &ContainerId) -> Result<Self, SpecError> {
        let invalid = |reason: String| SpecError::Invalid { path: "linux.cgroupsPath".to_owned(), reason };
        let Some(path) = cgroups_path else {
            return Ok(Self(Path::new(DEFAULT_PARENT).join(id.as_str())));
        };
        if path.as_os_str().to_string_lossy().contains(':') {
            return Err(invalid(format!("{} is for systemd; podrt wants a path", path.display())));
        }
        let mut clean = PathBuf::from(if path.is_absolute() { "/" } else { DEFAULT_PARENT });
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => clean.push(name),
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(invalid(format!("{} has a .. in it", path.display())));
                }
            }
        }
        if clean == Path::new("/") || clean == Path::new(DEFAULT_PARENT) {
            return Err(invalid(format!("{} has no name for the container", path.display())));
        }
        Ok(Self(clean))
    }

    /// The cgroup of a directory below [`MOUNT_POINT`].
    pub(super) fn of_directory(directory: &Path) -> Option<Self> {
        let below = directory.strip_prefix(MOUNT_POINT).ok()?;
        Self::try_from(Path::new("/").join(below)).ok()
    }

    /// The directory in the file system.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        let mut directory = PathBuf::from(MOUNT_POINT);
        directory.extend(self.0.components().skip(1));
        directory
    }

    /// True when the process is in this cgroup or below, by `/proc/PID/cgroup` (cgroups(7)).
    #[must_use]
    pub fn has_process(&self, pid: i32) -> bool {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let path = text.lines().find_map(|line| line.strip_prefix("0::"));
        path.is_some_and(|path| Path::new(path).starts_with(&self.0))
    }

    /// Directories above this one, from the root of the hierarchy down.
    #[must_use]
    pub fn ancestors(&self) -> Vec<PathBuf> {
        let mut directory = PathBuf::from(MOUNT_POINT);
        let mut list = vec![directory.clone()];
        let parents = self.0.parent().into_iter().flat_map(Path::components).skip(1);
        for part in parents {
            directory.push(part);
            list.push(directory.clone());
        }
        list
    }
}

impl TryFrom<PathBuf> for CgroupPath {
    type Error = &'static str;

    /// A path that [`CgroupPath::resolve`] could have made, and no other: a state file may hold anything.
    fn try_from(path: PathBuf) -> Result<Self, Self::Error> {
        let mut parts = path.components();
        let is_below_root = parts.next() == Some(Component::RootDir)
            && parts.clone().next().is_some()
            && parts.all(|part| matches!(part, Component::Normal(_)));
        if is_below_root { Ok(Self(path)) } else { Err("not the path of a cgroup") }
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(path: Option<&str>) -> Result<String, SpecError> {
        CgroupPath::resolve(path.map(Path::new), &"c1".parse().unwrap()).map(|path| path.to_string())
    }

    #[test]
    fn paths_are_placed_below_the_root() {
        assert_eq!(resolve(None).unwrap(), "/podrt/c1");
        assert_eq!(resolve(Some("/pods/a/./b/")).unwrap(), "/pods/a/b");
        assert_eq!(resolve(Some("pods/a")).unwrap(), "/podrt/pods/a");
    }

    #[test]
    fn paths_without_a_place_are_refused() {
        for path in ["/", "/../a", "a/../../b", ".", "system.slice:podrt:c1"] {
            assert!(resolve(Some(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_stored_path_is_checked_as_well() {
        let read = |path: &str| serde_json::from_value::<CgroupPath>(serde_json::json!(path));
        assert_eq!(read("/a/b").unwrap().to_string(), "/a/b");
        for path in ["", "/", "a", "/a/../..", "../a"] {
            assert!(read(path).is_err(), "{path}");
        }
    }

    #[test]
    fn ancestors_go_from_the_root_to_the_parent() {
        let path = CgroupPath(PathBuf::from("/a/b/c"));
        assert_eq!(path.directory(), Path::new("/sys/fs/cgroup/a/b/c"));
        let expected = ["/sys/fs/cgroup", "/sys/fs/cgroup/a", "/sys/fs/cgroup/a/b"].map(PathBuf::from);
        assert_eq!(path.ancestors(), expected);
    }

    proptest! {
        #[test]
        fn no_path_leads_out_of_the_hierarchy(text in "(/|\\.|\\.\\.|[a-z:\u{e4}]|\n| ){0,24}") {
            let id = "c1".parse().unwrap();
            if let Ok(path) = CgroupPath::resolve(Some(Path::new(&text)), &id) {
                let directory = path.directory();
                prop_assert!(directory.starts_with(MOUNT_POINT) && directory != Path::new(MOUNT_POINT));
                prop_assert!(directory.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_))));
                // What is written to a state file is read again as the same.
                let stored: CgroupPath = serde_json::from_value(serde_json::to_value(&path).unwrap()).unwrap();
                prop_assert_eq!(stored, path);
            }
        }

        #[test]
        fn a_stored_path_that_is_taken_is_below_the_root(text in any::<String>()) {
            if let Ok(path) = CgroupPath::try_from(PathBuf::from(&text)) {
                prop_assert!(path.directory().starts_with(MOUNT_POINT));
                prop_assert!(path.directory() != Path::new(MOUNT_POINT));
                prop_assert!(path.ancestors().iter().all(|above| path.directory().starts_with(above)));
            }
        }
    }
}
