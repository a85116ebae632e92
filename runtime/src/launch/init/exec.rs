//! The process of an `exec`, from its birth in the container's cgroup to its program.

use std::convert::Infallible;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::execve;

use super::super::exec::ExecRequest;
use super::super::protocol::{Channel, Message};
use super::super::{Context, StepError};
use super::program::Executable;
use super::{identity, process, rootfs, terminal};
use crate::plan::{Action, Actor, SeccompFilter};
use crate::spec::CapabilitySpec;
use crate::sys::{self, fd, seccomp};

/// What the process takes over from the runtime. All borrowed: nothing of it may be dropped here.
#[derive(Debug)]
pub(in crate::launch) struct ExecInit<'a> {
    pub(in crate::launch) request: &'a ExecRequest<'a>,
    pub(in crate::launch) channel: &'a Channel,
}

/// Runs the process; returns its exit code when there was no exec.
pub(in crate::launch) fn main(init: &ExecInit<'_>) -> i32 {
    let Err((step, error)) = run(init);
    let message = Message::Failed { step, errno: error.errno, detail: error.detail };
    // When the runtime is gone, the exit code is all that can be said.
    if init.channel.send(&message).is_err() { 2 } else { 1 }
}

/// Errors come with the index of their step; that of no step is the program's execution.
fn run(init: &ExecInit<'_>) -> Result<Infallible, (usize, StepError)> {
    let ExecInit { request, channel } = init;
    let steps = &request.plan.steps;
    let last = |what: &'static str| move |errno| (steps.len(), StepError::new(what, errno));
    let gone = || (steps.len(), StepError::new("the runtime has ended", Errno::EPIPE));
    prepare(init).map_err(last("prepare the process"))?;
    match channel.recv() {
        Ok(Some(Message::Go)) => {}
        _ => return Err(gone()),
    }
    let mut executable = Executable::of(request.process);
    for (index, step) in steps.iter().enumerate().filter(|(_, step)| step.actor == Actor::Init) {
        let result =
            request.fail_at.check(index).and_then(|()| perform(request, &step.action, &mut executable));
        result.map_err(|error| (index, error))?;
    }
    let first = 3 + request.preserve_fds;
    fd::close_all_except(first, &[channel.as_fd()])
        .and_then(|()| fd::close_on_exec_from(first))
        .and_then(|()| channel.send(&Message::Ready))
        .map_err(last("close descriptors"))?;
    match channel.recv() {
        Ok(Some(Message::Committed)) => {}
        _ => return Err(gone()),
    }
    let Some(program) = executable.path else { return Err(last("find the program")(Errno::ENOENT)) };
    for (index, step) in steps.iter().enumerate().filter(|(_, step)| step.actor == Actor::Released) {
        let Action::Seccomp { filter, then } = &step.action else { continue };
        load_filter(request, executable.env.len(), filter, then.as_ref()).map_err(|error| (index, error))?;
    }
    execve(&program, &request.process.args, &executable.env)
        .map_err(|errno| (steps.len(), StepError::new(program.to_string_lossy(), errno)))
}

/// From here on a failure may be filtered on its way to the runtime; then the exit code tells.
fn load_filter(
    request: &ExecRequest<'_>,
    n_env: usize,
    filter: &SeccompFilter,
    then: Option<&CapabilitySpec>,
) -> Result<(), StepError> {
    let program = seccomp::encode(&filter.program);
    // Room for the arrays of the exec, which asks for it under the filter.
    drop(Vec::<usize>::with_capacity(request.process.args.len() + n_env + 2));
    seccomp::load(&program, filter.flags, false).during(|| "seccomp")?;
    then.map_or(Ok(()), identity::reduce_capabilities)
}

/// Makes the process independent of whoever called the runtime, and hides it from the container that it is visible in.
fn prepare(init: &ExecInit<'_>) -> Result<(), Errno> {
    // The runtime is not dumpable, so neither has this been for a moment; but credentials may change that.
    prctl::set_dumpable(false)?;
    sys::process::reset_signals()?;
    let mut keep = vec![init.channel.as_fd(), init.request.target.as_fd()];
    keep.extend(init.request.console);
    fd::close_all_except(3 + init.request.preserve_fds, &keep)?;
    umask(Mode::empty());
    Ok(())
}

fn perform(request: &ExecRequest<'_>, action: &Action, executable: &mut Executable) -> Result<(), StepError> {
    match action {
        Action::JoinProcess(kinds) => request.join(kinds),
        Action::Terminal { is_console, size, uid } => {
            let root = rootfs::open_path("/")?;
            terminal::set_up(root.as_fd(), request.console, *is_console, *size, *uid)
        }
        _ => process::perform(request.process, action, executable),
    }
}
