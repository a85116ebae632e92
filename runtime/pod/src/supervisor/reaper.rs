//! The statuses of ended children, until they are asked for.

use std::collections::BTreeMap;

use nix::unistd::Pid;
use runtime::sys::wait::{self, Ended};

/// Children that have ended. A subreaper gets more of them than it has made.
#[derive(Debug, Default)]
pub(super) struct Reaper(BTreeMap<i32, Ended>);

impl Reaper {
    /// Waits for all children that have ended. Those that nobody asked for since the last time were nobody's.
    pub(super) fn reap(&mut self) {
        self.0.clear();
        while let Ok(Some((pid, ended))) = wait::take_any() {
            self.0.insert(pid.as_raw(), ended);
        }
    }

    /// How a child ended, if it has.
    pub(super) fn take(&mut self, pid: Pid) -> Option<Ended> {
        self.0.remove(&pid.as_raw())
    }
}
