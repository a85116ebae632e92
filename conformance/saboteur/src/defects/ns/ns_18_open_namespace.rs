//! A process of the runtime keeps a descriptor of a pod's namespace.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;
use crate::inside;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-18-open-namespace",
    target: "NS-18",
    does: "a process of the runtime keeps a descriptor of the pod's IPC namespace",
    also_red: &[("NS-24", "the IPC namespace does not end with the pod")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let sandbox = call.verb() == "create" && bundle::is_sandbox(&bundle::config(call)?);
    let code = base.pass(call)?;
    if sandbox && code == 0 {
        let pid_file = call.pid_file().context("--pid-file is needed to find the sandbox")?;
        let pid = fs::read_to_string(pid_file).with_context(|| format!("read {}", pid_file.display()))?;
        keep(&format!("/proc/{}/ns/ipc", pid.trim()))?;
    }
    Ok(code)
}

/// Starts a process that stays, and waits until it has the path open.
fn keep(path: &str) -> Result<()> {
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
