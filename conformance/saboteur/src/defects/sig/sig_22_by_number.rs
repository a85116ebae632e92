//! `kill` signals the number that the container's process had when it was created.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-22-by-number",
    target: "SIG-22",
    does: "kill signals the number that create wrote to the pid file",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let root = call.root().context("--root is needed to keep the number")?;
    let kept = root.join(format!(".pid-{}", call.id()));
    match call.verb() {
        "create" => {
            let code = base.pass(call)?;
            if let Some(pid_file) = call.pid_file().filter(|_| code == 0) {
                fs::copy(pid_file, &kept).with_context(|| format!("copy {}", pid_file.display()))?;
            }
            Ok(code)
        }
        "kill" => match (signal(call), number(&kept)) {
            (Some(signal), Some(pid)) if kill(Pid::from_raw(pid), signal).is_ok() => Ok(0),
            _ => base.pass(call),
        },
        "delete" => {
            let code = base.pass(call)?;
            if code == 0 && kept.exists() {
                fs::remove_file(&kept).with_context(|| format!("remove {}", kept.display()))?;
            }
            Ok(code)
        }
        _ => base.pass(call),
    }
}

/// The signal that is asked for; realtime signals are left to the good runtime.
fn signal(call: &Call) -> Option<Signal> {
    let asked = call.operand()?;
    match asked.parse::<i32>() {
        Ok(number) => Signal::try_from(number).ok(),
        Err(_) => Signal::from_str(asked).or_else(|_| Signal::from_str(&format!("SIG{asked}"))).ok(),
    }
}

fn number(kept: &Path) -> Option<i32> {
    fs::read_to_string(kept).ok()?.trim().parse().ok()
}
