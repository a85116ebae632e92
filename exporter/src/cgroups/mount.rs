//! Where the v2 hierarchy is mounted: asked of the kernel, never assumed.

use std::path::{Component, Path, PathBuf};

use procfs::ProcError;
use procfs::process::{MountInfos, Process};
use thiserror::Error;

/// The hierarchy was not found.
#[derive(Debug, Error)]
pub enum MountError {
    /// The list of mounts could not be read.
    #[error("cannot read the mounts of this process")]
    Read(#[source] ProcError),
    /// There is none.
    #[error("no cgroup v2 hierarchy is mounted; mount one, or name its directory with --path.cgroupfs")]
    Absent,
}

/// Mount point of the v2 hierarchy. Where it is mounted several times, the one that shows most of it.
///
/// # Errors
/// When it is mounted nowhere, or the mounts cannot be read.
pub fn hierarchy() -> Result<PathBuf, MountError> {
    let mounts = Process::myself().and_then(|own| own.mountinfo()).map_err(MountError::Read)?;
    best(&mounts).ok_or(MountError::Absent)
}

/// Which hierarchies are mounted: `unified`, `hybrid` or `legacy`; empty when that cannot be read.
pub(crate) fn mode() -> &'static str {
    Process::myself().and_then(|own| own.mountinfo()).map_or("", |mounts| mode_of(&mounts))
}

fn mode_of(mounts: &MountInfos) -> &'static str {
    let is_there = |kind: &str| mounts.0.iter().any(|mount| mount.fs_type == kind);
    match (is_there("cgroup2"), is_there("cgroup")) {
        (true, false) => "unified",
        (true, true) => "hybrid",
        (false, true) => "legacy",
        (false, false) => "",
    }
}

fn best(mounts: &MountInfos) -> Option<PathBuf> {
    let unified = mounts.0.iter().filter(|mount| mount.fs_type == "cgroup2");
    unified.min_by_key(|mount| depth(Path::new(&mount.root))).map(|mount| mount.mount_point.clone())
}

/// How far below the root of this process' cgroup namespace a mount begins. A mount of a part shows it as its root, and one that
/// begins above the namespace has `..` there.
fn depth(root: &Path) -> isize {
    let level = |component| match component {
        Component::Normal(_) => 1,
        Component::ParentDir => -1,
        _ => 0,
    };
    root.components().map(level).sum()
}

#[cfg(test)]
mod tests {
    use procfs::FromRead;

    use super::*;

    fn of(text: &str) -> Option<PathBuf> {
        best(&MountInfos::from_read(text.as_bytes()).unwrap())
    }

    #[test]
    fn unified_and_hybrid_layouts() {
        let unified = "30 20 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(of(unified), Some("/sys/fs/cgroup".into()));
        let mode = |text: &str| mode_of(&MountInfos::from_read(text.as_bytes()).unwrap());
        assert_eq!(mode(unified), "unified");
        let hybrid = "30 20 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(of(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!((mode(hybrid), mode("")), ("hybrid", ""));
        assert_eq!(of("32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"), None);
    }

    #[test]
    fn the_whole_hierarchy_is_better_than_a_part() {
        let both = "30 20 0:26 /a/b /mnt/part rw - cgroup2 cgroup2 rw\n31 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(of(both), Some("/sys/fs/cgroup".into()));
        let of_a_container = "30 20 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n\
                              31 20 0:26 /../../.. /host/sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(of(of_a_container), Some("/host/sys/fs/cgroup".into()));
    }
}
