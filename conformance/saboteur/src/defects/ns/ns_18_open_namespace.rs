//! A process of the runtime keeps a descriptor of a pod's namespace.

use std::fs;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;
use crate::holder;

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
        holder::keep_open(&format!("/proc/{}/ns/ipc", pid.trim()))?;
    }
    Ok(code)
}
