//! Mounts that the suite itself makes on the node, as a CRI implementation does for a pod.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{Cell, Obstacle};

/// A mount of the suite below a cell's directory; unmounted on drop.
#[derive(Debug)]
pub struct NodeMount {
    target: PathBuf,
}

impl NodeMount {
    /// Where it is.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }
}

impl Drop for NodeMount {
    fn drop(&mut self) {
        if let Err(errno) = umount2(&self.target, MntFlags::MNT_DETACH) {
            tracing::warn!(target = %self.target.display(), %errno, "unmount");
        }
    }
}

impl Cell<'_> {
    /// Mounts a tmpfs on a new directory of the cell.
    ///
    /// # Errors
    /// When the node refuses it.
    pub fn mount_tmpfs(&self, name: &str) -> Result<NodeMount, Obstacle> {
        let target = self.dir().join(name);
        fs::create_dir(&target).map_err(failed("make", &target))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("tmpfs"), &target, Some("tmpfs"), flags, Some("mode=1777"))
            .map_err(|errno| failed("mount a tmpfs on", &target)(errno.into()))?;
        Ok(NodeMount { target })
    }

    /// Keeps the namespace behind a path by a bind mount (namespaces(7)), on a new file of the cell.
    ///
    /// # Errors
    /// When the node refuses it.
    pub fn pin_namespace(&self, path: &str, name: &str) -> Result<NodeMount, Obstacle> {
        let target = self.dir().join(name);
        File::create_new(&target).map_err(failed("make", &target))?;
        mount(Some(path), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|errno| failed("pin a namespace at", &target)(errno.into()))?;
        Ok(NodeMount { target })
    }
}

fn failed(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Obstacle {
    let path = path.to_owned();
    move |source| Obstacle::Node { op, path, source }
}
