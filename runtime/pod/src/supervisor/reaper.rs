//! The statuses of ended children, until they are asked for.

use std::collections::BTreeMap;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Children that have ended. A subreaper gets more of them than it has made.
#[derive(Debug, Default)]
pub(super) struct Reaper(BTreeMap<i32, WaitStatus>);

impl Reaper {
    /// Waits for all children that have ended. Those that nobody asked for since the last time were nobody's.
    pub(super) fn reap(&mut self) {
        self.0.clear();
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
        while let Ok(status) = waitpid(None, Some(flags)) {
            match status.pid() {
                Some(pid) => self.0.insert(pid.as_raw(), status),
                None => break,
            };
        }
    }

    /// How a child ended, if it has.
    pub(super) fn take(&mut self, pid: Pid) -> Option<WaitStatus> {
        self.0.remove(&pid.as_raw())
    }
}
