//! Paths in the hierarchy.

use std::fmt;
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

/// A path that was stored: whoever edited the file must not have the whole node killed.
impl TryFrom<PathBuf> for CgroupPath {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        let mut parts = path.components();
        let is_absolute = parts.next() == Some(Component::RootDir);
        let names = parts.as_path();
        let is_clean = parts.all(|part| matches!(part, Component::Normal(_)));
        if is_absolute && is_clean && names != Path::new("") {
            Ok(Self(path))
        } else {
            Err(format!("{} is no cgroup of a container", path.display()))
        }
    }
}

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

    /// The directory in the file system.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        let mut directory = PathBuf::from(MOUNT_POINT);
        directory.extend(self.0.components().skip(1));
        directory
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

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())
    }
}

#[cfg(test)]
mod tests {
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
    fn a_stored_path_is_one_that_resolve_gives() {
        let read = |text: &str| serde_json::from_value::<CgroupPath>(serde_json::json!(text));
        let path = read("/podrt/c1").unwrap();
        assert_eq!(serde_json::to_value(&path).unwrap(), "/podrt/c1");
        for text in ["", "/", "//", "/.", "/..", "/a/../..", "a", "../a"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ancestors_go_from_the_root_to_the_parent() {
        let path = CgroupPath(PathBuf::from("/a/b/c"));
        assert_eq!(path.directory(), Path::new("/sys/fs/cgroup/a/b/c"));
        let expected = ["/sys/fs/cgroup", "/sys/fs/cgroup/a", "/sys/fs/cgroup/a/b"].map(PathBuf::from);
        assert_eq!(path.ancestors(), expected);
    }
}
