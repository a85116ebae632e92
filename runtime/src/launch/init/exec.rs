//! The process of an `exec`, from its birth in the container's cgroup to its program.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::execve;

use super::super::StepError;
use super::super::exec::ExecRequest;
use super::super::protocol::{Channel, Message};
use super::{process, rootfs, terminal};
use crate::plan::{Action, Actor};
use crate::sys::{self, fd};

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
    let mut program = None;
    for (index, step) in steps.iter().enumerate().filter(|(_, step)| step.actor == Actor::Init) {
        let result = request.fail_at.check(index).and_then(|()| perform(request, &step.action, &mut program));
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
    let Some(program) = program else { return Err(last("find the program")(Errno::ENOENT)) };
    execve(&program, &request.process.args, &request.process.env)
        .map_err(|errno| (steps.len(), StepError::new(program.to_string_lossy(), errno)))
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

fn perform(
    request: &ExecRequest<'_>,
    action: &Action,
    program: &mut Option<CString>,
) -> Result<(), StepError> {
    match action {
        Action::JoinProcess(kinds) => request.join(kinds),
        Action::Terminal { is_console, size, uid } => {
            let root = rootfs::open_path("/")?;
            terminal::set_up(root.as_fd(), request.console, *is_console, *size, *uid)
        }
        _ => process::perform(request.process, action, program),
    }
}
