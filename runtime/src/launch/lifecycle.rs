//! `start`, `kill`, `pause`, `resume` and `delete`.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::barrier::{self, Released};
use super::create::{self, CreateRequest, Started, pid_file_new};
use super::rollback::how_it_ended;
use super::{LaunchError, hooks};
use crate::cgroup::{freeze, group, owner, remove};
use crate::spec::{ContainerId, HookKind};
use crate::state::store::LOCK_DEADLINE;
use crate::state::{ContainerDir, ProcessIdentity, State, StateDocument, StateError, StateRoot, Status};
use crate::sys::clone::{Cloned, SingleThreaded};
use crate::sys::{process, wait};

/// The status of a container.
///
/// # Errors
/// What the kernel gives.
pub fn status(root: &StateRoot, id: &ContainerId, state: &State) -> Result<Status, LaunchError> {
    if state.process.is_none() {
        return Ok(Status::Creating);
    }
    match own_process(root, id, state)? {
        None => Ok(Status::Stopped),
        Some(_lives) if freeze::is_frozen(&state.cgroup)? => Ok(Status::Paused),
        Some(_lives) => Ok(ProcessIdentity::status_alive(&root.barrier(id))),
    }
}

/// The container's process, if it lives.
///
/// # Errors
/// [`LaunchError::Stranger`] when it lives and the cgroup has no mark of this container, or it is not in that cgroup: the state was
/// copied from somewhere, or written by hand, and whatever is done to the process would be done to a stranger.
pub(super) fn own_process(
    root: &StateRoot,
    id: &ContainerId,
    state: &State,
) -> Result<Option<OwnedFd>, LaunchError> {
    let Some(process) = &state.process else { return Ok(None) };
    let look = || call("look at the process of", id);
    let Some(pidfd) = process.open().map_err(look())? else { return Ok(None) };
    let is_own = state.cgroup.has_process(process.pid) && root.owner(id).is_own(&state.cgroup);
    if is_own {
        return Ok(Some(pidfd));
    }
    // It may have ended in between, and somebody may have its number by now.
    if process::has_ended(pidfd.as_fd()).map_err(look())? {
        return Ok(None);
    }
    Err(LaunchError::Stranger { id: id.to_string(), cgroup: state.cgroup.to_string() })
}

/// Lets the process of a created container execute its program, and runs the `poststart` hooks.
///
/// # Errors
/// [`LaunchError::Status`] unless it is created, [`LaunchError::Exec`] when the program cannot be executed. When a step before
/// that fails, a `startContainer` hook for instance, or a `poststart` hook, [`LaunchError::Step`], and the container is deleted
/// (runtime.md, Lifecycle).
pub fn start(root: &StateRoot, id: &ContainerId) -> Result<(), LaunchError> {
    let directory = root.lock(id)?;
    let state = root.load(id)?;
    match status(root, id, &state)? {
        Status::Created => {}
        status => return Err(not_created(id, status)),
    }
    let released = barrier::release(&directory, &state, &root.barrier(id)).map_err(socket(&directory))?;
    settle(released, root, id, directory, &state)
}

/// Creates a container and starts it at once: nobody else can start it, or see it created for long.
///
/// # Errors
/// Those of `create` and [`start`]; nothing is left of the container.
pub fn run(request: &CreateRequest<'_>) -> Result<Cloned, LaunchError> {
    let CreateRequest { root, id, spec, .. } = request;
    let has_agent = spec.seccomp.as_ref().is_some_and(|seccomp| seccomp.listener.is_some());
    let (process, result) = if has_agent {
        // It is told of the process before that goes on.
        (create::create(request)?, start(root, id))
    } else {
        let Started { process, directory, state, stream } = create::create_started(request)?;
        let released =
            barrier::wait_answer(stream, Vec::new(), &root.barrier(id)).map_err(socket(&directory));
        let result = match released {
            // Nobody else can have started it.
            Ok(Released::NobodyWaits) => Err(LaunchError::InitEnded { how: how_it_ended(&process) }),
            released => released.and_then(|released| settle(released, root, id, directory, &state)),
        };
        (process, result)
    };
    match result {
        Ok(()) => Ok(process),
        Err(error) => {
            let deleted = delete(root, id, true);
            // Nobody else knows of this child.
            if process::wait_end(process.pidfd.as_fd(), KILL_DEADLINE).is_ok_and(|has_ended| has_ended) {
                let _reaped = wait::wait(process.pid);
            }
            match deleted {
                Ok(_warnings) => Err(error),
                Err(left) => Err(LaunchError::RollBack { left: left.to_string(), source: Box::new(error) }),
            }
        }
    }
}

fn socket(directory: &ContainerDir) -> impl FnOnce(io::Error) -> LaunchError {
    let path = directory.path().join("start.sock");
    |error| StateError::io("talk to the process through", path)(error).into()
}

/// What follows from how a start went.
fn settle(
    released: Released,
    root: &StateRoot,
    id: &ContainerId,
    directory: ContainerDir,
    state: &State,
) -> Result<(), LaunchError> {
    match released {
        Released::Executed => match poststart(state) {
            Ok(()) => Ok(()),
            Err(error) => Err(destroy_after(error, root, id, directory, state)?),
        },
        Released::Failed { program, errno } => {
            // It is about to exit: whoever asks after this command is to see it stopped.
            if let Some(process) = &state.process
                && let Some(pidfd) = process.open().map_err(call("look at the process of", id))?
            {
                process::wait_end(pidfd.as_fd(), KILL_DEADLINE).map_err(call("wait for", id))?;
            }
            Err(LaunchError::Exec { program, source: errno })
        }
        Released::NotTried { detail, errno } => {
            Err(LaunchError::Step { step: "prepare linux.seccomp".to_owned(), detail, source: errno })
        }
        Released::StepFailed { step, detail, errno } => {
            let error = LaunchError::Step { step, detail, source: errno };
            Err(destroy_after(error, root, id, directory, state)?)
        }
        Released::NoAnswer { limit } => Err(LaunchError::NoAnswer { limit }),
        Released::NobodyWaits => Err(not_created(id, status(root, id, state)?)),
    }
}

fn not_created(id: &ContainerId, status: Status) -> LaunchError {
    LaunchError::Status { verb: "start", id: id.to_string(), status, way_out: "" }
}

/// Runs the `poststart` hooks up to the first that fails.
fn poststart(state: &State) -> Result<(), LaunchError> {
    let hooks = state.hooks.of(HookKind::Poststart);
    if hooks.is_empty() {
        return Ok(());
    }
    let token = SingleThreaded::check().map_err(LaunchError::Threads)?;
    let pid = state.process.as_ref().map(|process| process.pid);
    let document = StateDocument::new(state, Status::Running, pid).to_json();
    hooks.iter().try_for_each(|hook| {
        hooks::run(token, hook, &document).map_err(|error| LaunchError::step(format!("run {hook}"), error))
    })
}

/// Destroys a container whose start has failed; the error, with what its `poststop` hooks add.
fn destroy_after(
    error: LaunchError,
    root: &StateRoot,
    id: &ContainerId,
    directory: ContainerDir,
    state: &State,
) -> Result<LaunchError, LaunchError> {
    let warnings = destroy(root, id, directory, state)?;
    Ok(match warnings.is_empty() {
        true => error,
        false => LaunchError::Poststop { warnings: warnings.join("; "), source: Box::new(error) },
    })
}

/// Sends a signal to the container's process, or to all processes of the container.
///
/// # Errors
/// [`LaunchError::Status`] unless the process lives; with `is_all` the cgroup decides, which may have processes after that.
pub fn kill(root: &StateRoot, id: &ContainerId, signal: i32, is_all: bool) -> Result<(), LaunchError> {
    let state = root.load(id)?;
    let pidfd = own_process(root, id, &state)?;
    if is_all {
        return kill_all(root, id, &state, signal);
    }
    // containerd looks for these words of runc's.
    let way_out = " (container not running)";
    let gone = |status| LaunchError::Status { verb: "kill", id: id.to_string(), status, way_out };
    let Some(pidfd) = pidfd else { return Err(gone(status(root, id, &state)?)) };
    match process::pidfd_send_signal(pidfd.as_fd(), signal) {
        Err(Errno::ESRCH) => Err(gone(Status::Stopped)),
        result => result.map_err(call("signal", id)),
    }
}

fn kill_all(root: &StateRoot, id: &ContainerId, state: &State, signal: i32) -> Result<(), LaunchError> {
    let owner = root.owner(id);
    if signal == Signal::SIGKILL as i32 {
        return Ok(remove::kill_all(&state.cgroup, &owner)?);
    }
    for pid in remove::processes(&state.cgroup, &owner)? {
        // By descriptor: the number may be gone by now, and a later owner is not in the cgroup.
        let Ok(pidfd) = process::pidfd_open(pid) else { continue };
        if !remove::processes(&state.cgroup, &owner)?.contains(&pid) {
            continue;
        }
        match process::pidfd_send_signal(pidfd.as_fd(), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(call("signal a process of", id)(errno)),
        }
    }
    Ok(())
}

/// Stops every process of a container that is created or running.
///
/// # Errors
/// [`LaunchError::Status`] when it is neither, [`LaunchError::Cgroup`] when a process cannot be stopped.
pub fn pause(root: &StateRoot, id: &ContainerId) -> Result<(), LaunchError> {
    let _directory = root.lock(id)?;
    let state = root.load(id)?;
    match status(root, id, &state)? {
        Status::Created | Status::Running => Ok(freeze::freeze(&state.cgroup)?),
        status => Err(LaunchError::Status { verb: "pause", id: id.to_string(), status, way_out: "" }),
    }
}

/// Lets the processes of a paused container go on.
///
/// # Errors
/// [`LaunchError::Status`] unless it is paused, [`LaunchError::Cgroup`] when a cgroup above is frozen.
pub fn resume(root: &StateRoot, id: &ContainerId) -> Result<(), LaunchError> {
    let _directory = root.lock(id)?;
    let state = root.load(id)?;
    match status(root, id, &state)? {
        Status::Paused => Ok(freeze::thaw(&state.cgroup)?),
        status => Err(LaunchError::Status { verb: "resume", id: id.to_string(), status, way_out: "" }),
    }
}

/// How long a killed process may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Removes a container: what its `create` made, and the processes that are left in its cgroup. Then runs the `poststop` hooks,
/// and returns those that failed.
///
/// # Errors
/// [`LaunchError::Status`] unless it is stopped or `is_forced`.
pub fn delete(root: &StateRoot, id: &ContainerId, is_forced: bool) -> Result<Vec<String>, LaunchError> {
    let locked = match is_forced {
        true => match root.try_lock(id).transpose() {
            Some(result) => result,
            None => {
                // A start that waits for a process that does not answer has it.
                if let Ok(state) = root.load(id)
                    && let Ok(Some(pidfd)) = own_process(root, id, &state)
                {
                    kill_process(id, &pidfd)?;
                }
                // Or one that waits for a hook without a timeout.
                root.lock_within(id, LOCK_DEADLINE)
            }
        },
        false => root.lock(id),
    };
    let directory = match locked {
        // As OCI runtimes do, so that an engine can clean up without asking first.
        Err(StateError::Unknown { .. }) if is_forced => return Ok(Vec::new()),
        result => result?,
    };
    let state = match root.load(id) {
        Ok(state) => state,
        // An interrupted create or a file that tells nothing: the cgroup says itself whose it is.
        Err(StateError::Unknown { .. } | StateError::Damaged { .. } | StateError::Foreign { .. })
            if is_forced =>
        {
            let own = root.owner(id);
            for (path, owner) in owner::marked()?.into_iter().filter(|(_, owner)| *owner == own) {
                remove::remove(&path, &owner)?;
            }
            directory.remove()?;
            return Ok(Vec::new());
        }
        Err(StateError::Unknown { .. }) => return Err(LaunchError::Interrupted { id: id.to_string() }),
        Err(error) => return Err(error.into()),
    };
    if !is_forced {
        match status(root, id, &state)? {
            Status::Stopped => {}
            status => {
                return Err(LaunchError::Status {
                    verb: "delete",
                    id: id.to_string(),
                    status,
                    way_out: "; kill it first, or use delete --force",
                });
            }
        }
    }
    destroy(root, id, directory, &state)
}

/// Ends and removes whatever there is of a container, whatever its status.
///
/// The `poststop` hooks come before the state is forgotten: when this is interrupted, the next delete runs them again.
pub(super) fn destroy(
    root: &StateRoot,
    id: &ContainerId,
    directory: ContainerDir,
    state: &State,
) -> Result<Vec<String>, LaunchError> {
    // First the process itself, which may be one of many.
    if state.process.is_some() {
        if let Ok(Some(pidfd)) = own_process(root, id, state) {
            kill_process(id, &pidfd)?;
        }
    } else {
        group::mark_made_parents(&state.cgroup, &state.missing_cgroups);
    }
    remove::remove(&state.cgroup, &root.owner(id))?;
    if let (None, Some(path)) = (&state.process, &state.pid_file) {
        remove_pid_file(path);
    }
    let warnings = poststop(state);
    directory.remove()?;
    Ok(warnings)
}

/// Runs the `poststop` hooks of a container that is destroyed; says what failed.
pub(super) fn poststop(state: &State) -> Vec<String> {
    let kind = HookKind::Poststop;
    let hooks = state.hooks.of(kind);
    if hooks.is_empty() {
        return Vec::new();
    }
    match SingleThreaded::check() {
        Ok(token) => {
            hooks::run_all_noting(token, hooks, &StateDocument::new(state, Status::Stopped, None).to_json())
        }
        Err(errno) => vec![format!("hooks.{}: count the runtime's threads: {errno}", kind.oci_name())],
    }
}

/// Kills a container's process and waits for its end; one that is paused too.
fn kill_process(id: &ContainerId, pidfd: &OwnedFd) -> Result<(), LaunchError> {
    match process::pidfd_send_signal(pidfd.as_fd(), Signal::SIGKILL as i32) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(call("kill", id)(errno)),
    }
    if !process::wait_end(pidfd.as_fd(), KILL_DEADLINE).map_err(call("wait for", id))? {
        return Err(call("wait for the end of", id)(Errno::ETIMEDOUT));
    }
    Ok(())
}

/// Removes the pid file of an interrupted create, unless another container has come to use the file: then the process that it
/// names lives. Best effort: the file tells nothing that is worth an error.
fn remove_pid_file(path: &Path) {
    for path in [path.to_owned(), pid_file_new(path)] {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let is_alive = match text.trim().parse() {
            Ok(pid) => process::pidfd_open(Pid::from_raw(pid))
                .is_ok_and(|pidfd| !process::has_ended(pidfd.as_fd()).unwrap_or(true)),
            // Cut off in the middle of its first write, or no pid file.
            Err(_) => !text.is_empty(),
        };
        if !is_alive {
            drop(fs::remove_file(path));
        }
    }
}

pub(super) fn call(op: &'static str, id: &ContainerId) -> impl FnOnce(Errno) -> LaunchError {
    let id = id.to_string();
    move |source| LaunchError::Call { op, id, source }
}
