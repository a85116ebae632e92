//! A helper that sends a signal from where it is.

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Sends the signal to the process, both by number.
pub(super) fn run(pid: &str, signal: &str) -> Result<u8> {
    let number: i32 = signal.parse().with_context(|| format!("parse {signal}"))?;
    let signal = Signal::try_from(number).with_context(|| format!("find signal {number}"))?;
    let pid = Pid::from_raw(pid.parse().with_context(|| format!("parse {pid}"))?);
    kill(pid, signal).with_context(|| format!("send {signal} to {pid}"))?;
    Ok(0)
}
