//! Prometheus' own tool, for an exposition.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::Res;

/// What `promtool check metrics` says of an exposition.
pub(crate) fn check_metrics(program: &OsStr, exposition: &str) -> Res<Output> {
    let mut child = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no standard input")?.write_all(exposition.as_bytes())?;
    Ok(child.wait_with_output()?)
}
