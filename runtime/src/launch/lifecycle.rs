//! `start`, `kill` and `delete`.

use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::LaunchError;
use super::barrier::{self, Released};
use super::create::pid_file_new;
use crate::cgroup::{group, remove};
use crate::spec::ContainerId;
use crate::state::{State, StateError, StateRoot, Status};
use crate::sys::process;

/// The status of a container.
///
/// # Errors
/// What the kernel gives.
pub fn status(root: &StateRoot, id: &ContainerId, state: &State) -> Result<Status, LaunchError> {
    match &state.process {
        None => Ok(Status::Creating),
        Some(process) => process.status(&root.barrier(id)).map_err(call("look at the process of", id)),
    }
}

/// Lets the process of a created container execute its program.
///
/// # Errors
/// [`LaunchError::Status`] unless it is created, [`LaunchError::Exec`] when the program cannot be executed.
pub fn start(root: &StateRoot, id: &ContainerId) -> Result<(), LaunchError> {
    let directory = root.lock(id)?;
    let state = root.load(id)?;
    let refuse = |status| LaunchError::Status { verb: "start", id: id.to_string(), status, way_out: "" };
    match status(root, id, &state)? {
        Status::Created => {}
        status => return Err(refuse(status)),
    }
    let released = barrier::release(&directory, &root.barrier(id)).map_err(|error| {
        StateError::io("talk to the process through", directory.path().join("start.sock"))(error)
    })?;
    match released {
        Released::Executed => Ok(()),
        Released::Failed { program, errno } => {
            // It is about to exit: whoever asks after this command is to see it stopped.
            if let Some(process) = &state.process
                && let Some(pidfd) = process.open().map_err(call("look at the process of", id))?
            {
                process::wait_end(pidfd.as_fd(), KILL_DEADLINE).map_err(call("wait for", id))?;
            }
            Err(LaunchError::Exec { program, source: errno })
        }
        Released::NobodyWaits => Err(refuse(status(root, id, &state)?)),
    }
}

/// Sends a signal to the container's process, or to all processes of the container.
///
/// # Errors
/// [`LaunchError::Status`] unless the process lives; with `is_all` the cgroup decides, which may have processes after that.
pub fn kill(root: &StateRoot, id: &ContainerId, signal: i32, is_all: bool) -> Result<(), LaunchError> {
    let state = root.load(id)?;
    if is_all {
        return kill_all(id, &state, signal);
    }
    let pidfd = match &state.process {
        Some(process) => process.open().map_err(call("look at the process of", id))?,
        None => None,
    };
    let gone = |status| LaunchError::Status { verb: "kill", id: id.to_string(), status, way_out: "" };
    let Some(pidfd) = pidfd else { return Err(gone(status(root, id, &state)?)) };
    match process::pidfd_send_signal(pidfd.as_fd(), signal) {
        Err(Errno::ESRCH) => Err(gone(Status::Stopped)),
        result => result.map_err(call("signal", id)),
    }
}

fn kill_all(id: &ContainerId, state: &State, signal: i32) -> Result<(), LaunchError> {
    if signal == Signal::SIGKILL as i32 {
        return Ok(remove::kill(&state.cgroup)?);
    }
    for pid in remove::processes(&state.cgroup)? {
        // By descriptor: the number may be gone by now, and a later owner is not in the cgroup.
        let Ok(pidfd) = process::pidfd_open(pid) else { continue };
        if !remove::processes(&state.cgroup)?.contains(&pid) {
            continue;
        }
        match process::pidfd_send_signal(pidfd.as_fd(), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(call("signal a process of", id)(errno)),
        }
    }
    Ok(())
}

/// How long a killed process may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Removes a container: what its `create` made, and the processes that are left in its cgroup.
///
/// # Errors
/// [`LaunchError::Status`] unless it is stopped or `is_forced`.
pub fn delete(root: &StateRoot, id: &ContainerId, is_forced: bool) -> Result<(), LaunchError> {
    let directory = match root.lock(id) {
        // As OCI runtimes do, so that an engine can clean up without asking first.
        Err(StateError::Unknown { .. }) if is_forced => return Ok(()),
        result => result?,
    };
    let state = match root.load(id) {
        Ok(state) => state,
        // An interrupted create or a damaged file: what it would tell is lost.
        Err(StateError::Unknown { .. } | StateError::Damaged { .. }) if is_forced => {
            return Ok(directory.remove()?);
        }
        Err(error) => return Err(error.into()),
    };
    match status(root, id, &state)? {
        Status::Stopped => {}
        _ if is_forced => {}
        status => {
            return Err(LaunchError::Status {
                verb: "delete",
                id: id.to_string(),
                status,
                way_out: "; kill it first, or use delete --force",
            });
        }
    }
    // First the process itself: it may have been moved out of its cgroup.
    if let Some(process) = &state.process
        && let Some(pidfd) = process.open().map_err(call("look at the process of", id))?
    {
        match process::pidfd_send_signal(pidfd.as_fd(), Signal::SIGKILL as i32) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(call("kill", id)(errno)),
        }
        if !process::wait_end(pidfd.as_fd(), KILL_DEADLINE).map_err(call("wait for", id))? {
            return Err(call("wait for the end of", id)(Errno::ETIMEDOUT));
        }
    }
    if state.process.is_none() {
        group::mark_made_parents(&state.cgroup, &state.missing_cgroups);
    }
    remove::remove(&state.cgroup)?;
    if let (None, Some(path)) = (&state.process, &state.pid_file) {
        // Not complete, so nobody but the interrupted create knows it; most often it is not there.
        drop(fs::remove_file(pid_file_new(path)));
    }
    Ok(directory.remove()?)
}

fn call(op: &'static str, id: &ContainerId) -> impl FnOnce(Errno) -> LaunchError {
    let id = id.to_string();
    move |source| LaunchError::Call { op, id, source }
}
