//! What a `create` has made so far, and how it is taken back.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use super::lifecycle;
use crate::cgroup::{CgroupPath, Owner, remove};
use crate::plan::Undo;
use crate::state::{ContainerDir, State};
use crate::sys::clone::Cloned;
use crate::sys::{process, wait};

/// Everything that outlives the runtime's process, once made.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The undo of each step done, in order.
    pub(super) done: Vec<Undo>,
    /// The container's directory, with the state as last written.
    pub(super) directory: Option<(ContainerDir, State)>,
    /// The cgroup, and its mark.
    pub(super) cgroup: Option<(CgroupPath, Owner)>,
    /// The container's process.
    pub(super) init: Option<Cloned>,
    /// The pid file.
    pub(super) pid_file: Option<PathBuf>,
}

/// How long a killed init may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

impl Made {
    /// Takes back what was done, last first. Goes on after a failure; says what is left, nothing when all is well, and
    /// which hooks failed.
    pub(super) fn roll_back(mut self) -> (String, Vec<String>) {
        let mut failures = Vec::new();
        let mut warnings = Vec::new();
        let mut has_hooks_to_undo = false;
        let mut is_cgroup_left = false;
        let mut note = |what: String| failures.push(what);
        for undo in std::mem::take(&mut self.done).into_iter().rev() {
            match undo {
                Undo::KillProcess => {
                    if let Some(init) = self.init.take()
                        && let Err(errno) = end(&init)
                    {
                        note(format!("process {} is still there: {errno}", init.pid));
                    }
                }
                Undo::RemoveCgroup => {
                    if let Some((path, owner)) = self.cgroup.take()
                        && let Err(error) = remove::remove(&path, &owner)
                    {
                        is_cgroup_left = true;
                        note(format!("cgroup {path} is still there: {error}"));
                    }
                }
                Undo::RemovePidFile => {
                    if let Some(path) = self.pid_file.take()
                        && let Err(error) = std::fs::remove_file(&path)
                    {
                        note(format!("{} is still there: {error}", path.display()));
                    }
                }
                Undo::RunPoststop => has_hooks_to_undo = true,
                // By the state a delete finds what is left, and runs the hooks.
                Undo::RemoveStateDirectory if is_cgroup_left => {}
                Undo::RemoveStateDirectory => {
                    if let Some((directory, state)) = self.directory.take() {
                        if has_hooks_to_undo {
                            warnings = lifecycle::poststop(&state);
                        }
                        let path = directory.path().to_owned();
                        if let Err(error) = directory.remove() {
                            note(format!("{} is still there: {error}", path.display()));
                        }
                    }
                }
                // Descriptors close with this process; the rest goes with what it belongs to.
                Undo::Nothing
                | Undo::Close
                | Undo::WithProcess
                | Undo::WithCgroup
                | Undo::WithStateDirectory => {}
            }
        }
        (failures.join("; "), warnings)
    }
}

/// How a child ended that is about to end.
pub(super) fn how_it_ended(child: &Cloned) -> String {
    match process::wait_end(child.pidfd.as_fd(), KILL_DEADLINE).and_then(|_| wait::take(child.pid)) {
        Ok(Some(ended)) => ended.to_string(),
        Ok(None) => "it lives".to_owned(),
        Err(errno) => errno.to_string(),
    }
}

/// Kills init and waits for it.
fn end(init: &Cloned) -> Result<(), Errno> {
    match process::pidfd_send_signal(init.pidfd.as_fd(), libc::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(errno),
    }
    if !process::wait_end(init.pidfd.as_fd(), KILL_DEADLINE)? {
        return Err(Errno::ETIMEDOUT);
    }
    match wait::wait(init.pid) {
        Ok(_) | Err(Errno::ECHILD) => Ok(()),
        Err(errno) => Err(errno),
    }
}
