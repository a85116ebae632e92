//! A cgroup of the v2 hierarchy, so that what is counted is ours.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::Res;

/// Removed on drop.
#[derive(Debug)]
pub(crate) struct Cgroup {
    dir: PathBuf,
    /// The inode of its directory.
    pub(crate) id: u64,
}

impl Cgroup {
    /// Makes one below the root of the hierarchy; the reason when this machine has none or does not allow it.
    pub(crate) fn make(name: &str) -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
        let mount =
            mount.and_then(|line| line.split(' ').nth(4)).ok_or("no cgroup v2 hierarchy is mounted")?;
        let dir = Path::new(mount).join(format!("podproof-endurance-{name}-{}", std::process::id()));
        let refused = |error| format!("cannot make the cgroup {}: {error}", dir.display());
        fs::create_dir(&dir).map_err(refused)?;
        let id = fs::metadata(&dir).map_err(refused)?.ino();
        Ok(Self { dir, id })
    }

    /// Moves a process into it.
    pub(crate) fn add(&self, tgid: u32) -> Res<()> {
        Ok(fs::write(self.dir.join("cgroup.procs"), tgid.to_string())?)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.dir) {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}
