//! The wrapper as a part of the runtime that makes a namespace too many (unshare(2)).

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};

/// Makes the namespace and executes the program in this same process.
pub(super) fn run(kind: CloneFlags, program: &str, arguments: &[String]) -> Result<u8> {
    unshare(kind).with_context(|| format!("unshare {kind:?}"))?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}
