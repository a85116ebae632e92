//! A wrapper that leaves the program a signal ignored or blocked: both outlive an exec (signal(7)).

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

/// Becomes the program with SIGCHLD ignored.
#[expect(unsafe_code, reason = "a handler could be unsafe; this one is none")]
pub(super) fn ignore_children(program: &str, arguments: &[String]) -> Result<u8> {
    // SAFETY: no handler is installed, so none can do what it must not.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.context("ignore SIGCHLD")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}

/// Becomes the program with SIGCHLD blocked.
pub(super) fn block_children(program: &str, arguments: &[String]) -> Result<u8> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().context("block SIGCHLD")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}
