//! Wrappers that are made subreapers (prctl(2)).

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::prctl::set_child_subreaper;

/// Executes the program in this same process, which stays a subreaper.
pub(super) fn become_program(program: &str, arguments: &[String]) -> Result<u8> {
    set_child_subreaper(true).context("become a subreaper")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}

/// Starts the program as a child and waits for it.
pub(super) fn stay(program: &str, arguments: &[String]) -> Result<u8> {
    set_child_subreaper(true).context("become a subreaper")?;
    let status = Command::new(program).args(arguments).status().with_context(|| format!("run {program}"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
