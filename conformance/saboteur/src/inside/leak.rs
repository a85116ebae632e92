//! A wrapper that leaves a descriptor open for the program.

use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

/// Opens a directory without close-on-exec and becomes the program.
pub(super) fn run(program: &str, arguments: &[String]) -> Result<u8> {
    let directory = open("/", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).context("open /")?;
    // Given away: it has to be open still at the exec.
    let _number = directory.into_raw_fd();
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}
