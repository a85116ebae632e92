//! A subreaper between a program and the PID namespace's own reaper (prctl(2)).

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::prctl::set_child_subreaper;
use nix::unistd::{dup2_stdin, pause};

use super::WRAPPER;

/// Has the program run below a subreaper and ends with it; the subreaper stays.
pub(super) fn run(program: &[String]) -> Result<u8> {
    let (mut ended, told) = std::io::pipe().context("make a pipe")?;
    // Its standard input is the writing end, the one descriptor that can be handed over without unsafe code.
    let mut stays = Command::new(format!("/{WRAPPER}"));
    stays.arg("subreaper-stays").args(program).stdin(Stdio::from(told));
    stays.spawn().context("start the subreaper")?;
    drop(stays);
    ended.read_to_end(&mut Vec::new()).context("wait for the program's end")?;
    Ok(0)
}

/// What the subreaper does: it adopts what the program leaves behind, and reaps nothing.
pub(super) fn stay(program: &str, arguments: &[String]) -> Result<u8> {
    set_child_subreaper(true).context("become a subreaper")?;
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).status();
    status.with_context(|| format!("run {program}"))?;
    dup2_stdin(File::open("/proc/self/status").context("open something else")?).context("close the pipe")?;
    loop {
        pause();
    }
}
