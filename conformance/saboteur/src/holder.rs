//! A process that stays behind and keeps a descriptor, as a daemon that forgot to close it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::inside;

/// Starts a process that stays, and waits until it has the path open.
pub(crate) fn keep_open(path: &str) -> Result<()> {
    let mut daemon = Command::new("/proc/self/exe");
    daemon.arg0(inside::WRAPPER).args(["hold", path]).current_dir("/");
    daemon.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut daemon = daemon.spawn().context("start a process that keeps a descriptor")?;
    let mut line = String::new();
    if let Some(stdout) = daemon.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).context("listen to that process")?;
    }
    ensure!(line.trim_end() == "open", "that process did not open {path}");
    Ok(())
}
