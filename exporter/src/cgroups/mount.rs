//! Where the v2 hierarchy is mounted: asked of the kernel, never assumed.

use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
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
    /// The directory that was named is not there.
    #[error("--path.cgroupfs: cannot look at {}", path.display())]
    Look {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is in another file system.
    #[error("--path.cgroupfs: {} is no cgroup v2 hierarchy but in a file system of the type {kind}; {way_out}", path.display())]
    Other {
        /// The directory.
        path: PathBuf,
        /// As /proc/self/mountinfo names it.
        kind: String,
        /// What to do instead.
        way_out: String,
    },
}

/// Mount point of the v2 hierarchy. Where it is mounted several times, the one that shows most of it.
///
/// # Errors
/// When it is mounted nowhere, or the mounts cannot be read.
pub fn hierarchy() -> Result<PathBuf, MountError> {
    let mounts = Process::myself().and_then(|own| own.mountinfo()).map_err(MountError::Read)?;
    best(&mounts).ok_or(MountError::Absent)
}

/// A directory, if it is of the v2 hierarchy.
///
/// # Errors
/// When it is not, as `/sys/fs/cgroup` where v1 is mounted beside v2; tells where the hierarchy is.
pub fn named(path: &Path) -> Result<PathBuf, MountError> {
    let failed = |source| MountError::Look { path: path.to_owned(), source };
    let found = statfs(path).map_err(|errno| failed(errno.into()))?;
    if found.filesystem_type() == CGROUP2_SUPER_MAGIC {
        return Ok(path.to_owned());
    }
    let real = fs::canonicalize(path).map_err(failed)?;
    let mounts = Process::myself().and_then(|own| own.mountinfo()).map_err(MountError::Read)?;
    Err(other(&mounts, path, &real))
}

/// What a directory is, and which to name instead.
fn other(mounts: &MountInfos, path: &Path, real: &Path) -> MountError {
    let around = mounts.0.iter().filter(|mount| real.starts_with(&mount.mount_point));
    // Of several in one place the last one is on top.
    let own = around.max_by_key(|mount| mount.mount_point.components().count());
    let kind = own.map_or_else(|| "unknown".to_owned(), |mount| mount.fs_type.clone());
    let below = mounts.0.iter().filter(|mount| mount.mount_point.starts_with(real)).cloned().collect();
    let way_out = match best(&MountInfos(below)).or_else(|| best(mounts)) {
        Some(mount_point) => format!("name {}, or leave the option out", mount_point.display()),
        None => "no such hierarchy is mounted: mount one, as with `mount -t cgroup2 none DIR`".to_owned(),
    };
    MountError::Other { path: path.to_owned(), kind, way_out }
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
    fn a_directory_that_is_no_hierarchy_is_told_with_the_one_that_is() {
        let told = |text: &str, path: &str| {
            other(&MountInfos::from_read(text.as_bytes()).unwrap(), Path::new(path), Path::new(path))
                .to_string()
        };
        let root = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
        let hybrid = "30 20 0:26 / /host/sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      31 30 0:27 / /host/sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      32 30 0:28 / /host/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      33 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let all = format!("{root}{hybrid}");
        assert_eq!(
            told(&all, "/host/sys/fs/cgroup"),
            "--path.cgroupfs: /host/sys/fs/cgroup is no cgroup v2 hierarchy but in a file system of the type tmpfs; name \
             /host/sys/fs/cgroup/unified, or leave the option out"
        );
        assert!(
            told(&all, "/host/sys/fs/cgroup/memory/a")
                .contains("type cgroup; name /host/sys/fs/cgroup/unified")
        );
        assert!(told(&all, "/tmp").contains("type ext4; name "));
        assert!(
            told(root, "/tmp")
                .ends_with("no such hierarchy is mounted: mount one, as with `mount -t cgroup2 none DIR`")
        );
    }

    #[test]
    fn a_directory_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(named(dir.path()), Err(MountError::Other { path, .. }) if path == dir.path()));
        let error = named(&dir.path().join("none")).unwrap_err();
        assert!(error.to_string().starts_with("--path.cgroupfs: cannot look at "), "{error}");
        // Where tests run without one, nothing is found either.
        if let Ok(mount_point) = hierarchy() {
            assert_eq!(named(&mount_point).unwrap(), mount_point);
        }
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
