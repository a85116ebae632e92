//! Leaves the container's program to PID 1 of its PID namespace.

use std::process::Command;

use anyhow::{Context, Result};
use nix::unistd::pause;

use super::WRAPPER;

/// Starts the program through a process in between that ends, so that PID 1 becomes its parent.
pub(super) fn run(program: &[String]) -> Result<u8> {
    let between = Command::new(format!("/{WRAPPER}")).arg("leave").args(program).status();
    if !between.context("start the process in between")?.success() {
        return Ok(1);
    }
    // The container lives as long as this process: until the runtime ends it.
    loop {
        pause();
    }
}

/// What the process in between does.
pub(super) fn leave(program: &str, arguments: &[String]) -> Result<u8> {
    Command::new(program).args(arguments).spawn().with_context(|| format!("start {program}"))?;
    Ok(0)
}
