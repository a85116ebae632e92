//! `podrt run`.

use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::Context;

use super::args::BundleArgs;
use super::create::create;
use super::log::Log;
use crate::launch::{self, foreground};
use crate::spec::ContainerId;
use crate::state::StateRoot;

/// Creates, starts, and unless detached waits for the end and deletes. The exit code is the program's.
///
/// # Errors
/// Why the container could not be run to its end; then it is deleted.
pub fn run(root: &StateRoot, args: &BundleArgs, is_detached: bool, log: &Log) -> anyhow::Result<ExitCode> {
    let id: ContainerId = args.id.parse()?;
    // Before there is a container: a signal that comes from now on is for its program.
    let signals = if is_detached { None } else { Some(foreground::take_signals().context("take signals")?) };
    let (init, terminal) = create(root, args, is_detached, log)?;
    let result = launch::start(root, &id).context("start the container").and_then(|()| match &signals {
        None => Ok(ExitCode::SUCCESS),
        Some(signals) => Ok(foreground::wait(init.pidfd.as_fd(), init.pid, signals, terminal)?.into()),
    });
    if is_detached && result.is_ok() {
        return result;
    }
    let deleted = launch::delete(root, &id, true).with_context(|| format!("delete container {id}"));
    let code = result?;
    log.warn_each(deleted?);
    Ok(code)
}
