//! The end of a layer: what it hides of the layers below, then the times of its directories.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, futimens, mknodat};
use runtime::sys::xattr;

use super::lower::{OPAQUE, kind};
use super::tree::{Tree, look};
use super::{Trouble, failed, write};
use crate::descriptor::fd_path;

impl Tree<'_> {
    /// Writes what was noted while the archive was read. Only here is known what the layer itself has.
    ///
    /// # Errors
    /// The first failure, and for which path.
    pub(super) fn finish(mut self) -> Result<(), (PathBuf, Trouble)> {
        for path in self.opaque.keys() {
            self.make_opaque(path).map_err(|trouble| (path.clone(), trouble))?;
        }
        // Those of directories come before those of what is in them.
        for path in std::mem::take(&mut self.hidden).into_keys() {
            self.white_out(&path).map_err(|trouble| (path, trouble))?;
        }
        for (path, modified) in &self.times {
            self.set_time(path, *modified).map_err(|trouble| (path.clone(), trouble))?;
        }
        Ok(())
    }

    fn make_opaque(&self, path: &Path) -> Result<(), Trouble> {
        let dir = self.at(path.to_owned())?.dir;
        xattr::set(&fd_path(&dir), OPAQUE, b"y").map_err(failed("set trusted.overlay.opaque"))
    }

    fn white_out(&mut self, path: &Path) -> Result<(), Trouble> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let place = self.at(parent.to_owned())?;
        match look(&place.dir, name)?.as_ref().map(kind) {
            Some(SFlag::S_IFDIR) => {
                self.make_opaque(path)?;
                self.opaque.insert(path.to_owned(), ());
                return Ok(());
            }
            // What is no directory hides what is below by itself.
            Some(_) => return Ok(()),
            None => {}
        }
        if parent.ancestors().any(|ancestor| self.opaque.contains_key(ancestor)) {
            return Ok(());
        }
        if self.lower.find(path).map_err(failed("look at the layers below"))?.is_none() {
            return Ok(());
        }
        mknodat(place.dir.as_fd(), name, SFlag::S_IFCHR, Mode::empty(), 0)
            .map_err(failed("make the whiteout"))
    }

    fn set_time(&self, path: &Path, modified: (i64, i64)) -> Result<(), Trouble> {
        let dir = self.at(path.to_owned())?.dir;
        let time = write::time(modified);
        futimens(&dir, &time, &time).map_err(failed("set the time"))
    }
}
