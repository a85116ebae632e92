//! Where paths of `/proc/PID/cgroup` begin: at the root of the reader's cgroup namespace (cgroup_namespaces(7)), which need not
//! be that of the mounted hierarchy. What is beside or above it has `..` in its path.

use std::fs;
use std::path::{Component, Path, PathBuf};

use procfs::process::Process;

use super::walk;

/// The namespace that the machine began with (`PROC_CGROUP_INIT_INO`).
const INITIAL: &str = "cgroup:[4026531835]";

/// The root of this process' cgroup namespace, below the mount point; `None` when it is not there. No file tells it: it is found
/// by the cgroup that lists this process.
#[must_use]
pub fn namespace_root(mount_point: &Path) -> Option<PathBuf> {
    if fs::read_link("/proc/self/ns/cgroup").is_ok_and(|link| link.as_os_str() == INITIAL) {
        return Some(PathBuf::new());
    }
    let groups = Process::myself().and_then(|own| own.cgroups()).ok()?;
    let shown = groups.0.into_iter().find(|group| group.hierarchy == 0)?.pathname;
    let own = std::process::id().to_string();
    let lists_own = |path: &Path| {
        let text = fs::read_to_string(mount_point.join(path).join("cgroup.procs"));
        text.is_ok_and(|text| text.lines().any(|line| line == own))
    };
    let path =
        walk(mount_point).ok()?.cgroups.into_iter().map(|cgroup| cgroup.path).find(|path| lists_own(path))?;
    above(&path, Path::new(&shown))
}

/// The path without its end `shown`.
fn above(path: &Path, shown: &Path) -> Option<PathBuf> {
    let shown = shown.strip_prefix("/").unwrap_or(shown);
    let n_below = shown.components().count();
    path.ends_with(shown).then(|| path.ancestors().nth(n_below).map(Path::to_owned)).flatten()
}

/// Where a cgroup is below the mount point, from the root of the namespace and the path that `/proc` shows. `None` when it is
/// outside of the mount.
pub(crate) fn below_mount(namespace_root: &Path, shown: &Path) -> Option<PathBuf> {
    let mut path = namespace_root.to_owned();
    for component in shown.components() {
        match component {
            Component::ParentDir => path.pop().then_some(())?,
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_beside_and_below_the_namespace() {
        let below = |root: &str, shown: &str| below_mount(Path::new(root), Path::new(shown));
        assert_eq!(below("", "/kubepods/a"), Some("kubepods/a".into()));
        assert_eq!(below("kubepods/own/x", "/"), Some("kubepods/own/x".into()));
        assert_eq!(below("kubepods/own/x", "/sub"), Some("kubepods/own/x/sub".into()));
        assert_eq!(below("kubepods/own/x", "/../../other/c"), Some("kubepods/other/c".into()));
        assert_eq!(below("kubepods/own/x", "../../.."), Some("".into()));
        assert_eq!(below("own", "/../../x"), None);
    }

    #[test]
    fn the_root_is_above_what_is_shown() {
        let of = |path: &str, shown: &str| above(Path::new(path), Path::new(shown));
        assert_eq!(of("kubepods/own/x", "/"), Some("kubepods/own/x".into()));
        assert_eq!(of("kubepods/own/x", "/x"), Some("kubepods/own".into()));
        assert_eq!(of("own", "/own"), Some("".into()));
        assert_eq!(of("own", "/other"), None);
        assert_eq!(of("own", "/../own"), None);
    }
}
