//! `podrt run`.

use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::args::BundleArgs;
use super::create::create;
use super::log::Log;
use crate::launch;
use crate::spec::ContainerId;
use crate::state::StateRoot;
use crate::sys::clone::Cloned;
use crate::sys::process;

/// Creates, starts, and unless detached waits for the end and deletes. The exit code is the program's.
///
/// # Errors
/// Why the container could not be run to its end; then it is deleted.
pub fn run(root: &StateRoot, args: &BundleArgs, is_detached: bool, log: &Log) -> anyhow::Result<ExitCode> {
    let id: ContainerId = args.id.parse()?;
    // Before there is a container: a signal that comes from now on is for its program.
    let signals = if is_detached { None } else { Some(take_signals()?) };
    let init = create(root, args, log)?;
    let result = launch::start(root, &id).context("start the container").and_then(|warnings| {
        log.warn_each(warnings);
        match &signals {
            None => Ok(ExitCode::SUCCESS),
            Some(signals) => wait(&init, signals),
        }
    });
    if is_detached && result.is_ok() {
        return result;
    }
    let deleted = launch::delete(root, &id, true).with_context(|| format!("delete container {id}"));
    let code = result?;
    log.warn_each(deleted?);
    Ok(code)
}

/// Signals that are about the runtime itself, not about the program.
const OWN: [Signal; 4] = [Signal::SIGCHLD, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

fn take_signals() -> anyhow::Result<SignalFd> {
    let mut set = SigSet::all();
    OWN.into_iter().for_each(|signal| set.remove(signal));
    set.thread_block().context("block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("make a signalfd")
}

/// Passes signals on until the program has ended.
fn wait(init: &Cloned, signals: &SignalFd) -> anyhow::Result<ExitCode> {
    loop {
        let mut fds = [
            PollFd::new(init.pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut fds, PollTimeout::NONE).context("wait for the program")?;
        while let Some(info) = signals.read_signal().context("read a signal")? {
            let signal = i32::try_from(info.ssi_signo).context("read a signal")?;
            match process::pidfd_send_signal(init.pidfd.as_fd(), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno).context("pass a signal on"),
            }
        }
        if process::has_ended(init.pidfd.as_fd()).context("wait for the program")? {
            break;
        }
    }
    let code = match waitpid(init.pid, Some(WaitPidFlag::__WALL)).context("read the program's status")? {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        other => anyhow::bail!("the program ended with an unexpected status: {other:?}"),
    };
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}
