//! An exec has a monitor that never waits for the runtime's process.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::{inside, pod_layer};

pub(super) const DEFECT: Defect = Defect {
    name: "reap-14-never-waits",
    target: "REAP-14",
    does: "an exec has a monitor that never waits for the runtime's process",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::verb(call) == Some("exec") { exec(call, base) } else { base.pass(call) }
}

/// Has a monitor call the good runtime, and returns with its exit code; the monitor stays.
fn exec(call: &Call, base: &Base) -> Result<u8> {
    let mut monitor = Command::new("/proc/self/exe")
        .arg0(inside::WRAPPER)
        .arg("monitor")
        .arg(base.path())
        .args(&call.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the monitor")?;
    let output = monitor.stdout.take().context("find its output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).context("wait for the end of the runtime")?;
    line.trim().parse().context("understand the monitor")
}
