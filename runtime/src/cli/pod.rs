//! `podrt pod`: the pod layer is a program of its own, so that containers need not carry it.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;

/// Name of the program.
const PROGRAM: &str = "podrt-pod";

/// Executes `podrt-pod` with these arguments: the one beside podrt, or else the one in `PATH`.
///
/// # Errors
/// Why it could not be executed.
pub fn pod(args: &[OsString]) -> anyhow::Result<ExitCode> {
    let beside = env::current_exe().context("find the program podrt")?.with_file_name(PROGRAM);
    let program = if beside.is_file() { beside } else { PROGRAM.into() };
    let error = Command::new(&program).args(args).exec();
    Err(error).with_context(|| format!("execute {}; it is installed beside podrt", program.display()))
}
