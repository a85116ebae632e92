//! `kill` has a helper inside the PID namespace send the signal.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::inside;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-08-sent-from-inside",
    target: "PID-08",
    does: "a helper inside the PID namespace sends the signal",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let signal = if call.verb() == "kill" { call.operand().and_then(number) } else { None };
    let Some(signal) = signal else { return base.pass(call) };
    let pid = base.state(call)?.context("find the container")?["pid"].to_string();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read the status")?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let inner = numbers.split_whitespace().last().context("find the number inside")?;
    let space = format!("/proc/{pid}/ns/pid");
    let space = File::open(&space).with_context(|| format!("open {space}"))?;
    // The next child is in that namespace.
    setns(space, CloneFlags::CLONE_NEWPID).context("setns")?;
    let status = Command::new("/proc/self/exe")
        .arg0(inside::WRAPPER)
        .args(["send", inner, &signal.to_string()])
        .status()
        .context("start the helper")?;
    Ok(u8::from(!status.success()))
}

/// Of a standard signal that can reach PID 1 from inside too.
fn number(asked: &str) -> Option<i32> {
    let by_name = || format!("SIG{}", asked.trim_start_matches("SIG")).parse::<Signal>().ok();
    let signal = asked.parse().ok().and_then(|number: i32| Signal::try_from(number).ok()).or_else(by_name)?;
    (!matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)).then_some(signal as i32)
}
