//! Wrappers that are made subreapers (prctl(2)).

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::prctl::set_child_subreaper;
use nix::unistd::{dup2_stdin, pause};

use super::WRAPPER;

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

/// Has the program run below a subreaper and ends with it; the subreaper outlives both.
pub(super) fn leave(program: &[String]) -> Result<u8> {
    let (mut ended, told) = std::io::pipe().context("make a pipe")?;
    // Its standard input is the writing end, the one descriptor that can be handed over without unsafe code.
    let mut outlives = Command::new(format!("/{WRAPPER}"));
    outlives.arg("subreaper-outlives").args(program).stdin(Stdio::from(told));
    outlives.spawn().context("start the subreaper")?;
    drop(outlives);
    ended.read_to_end(&mut Vec::new()).context("wait for the program's end")?;
    Ok(0)
}

/// What that subreaper does: it adopts what the program leaves behind, and reaps nothing.
pub(super) fn outlive(program: &str, arguments: &[String]) -> Result<u8> {
    set_child_subreaper(true).context("become a subreaper")?;
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).status();
    status.with_context(|| format!("run {program}"))?;
    dup2_stdin(File::open("/proc/self/status").context("open something else")?).context("close the pipe")?;
    loop {
        pause();
    }
}
