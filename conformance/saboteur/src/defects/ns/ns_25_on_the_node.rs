//! The IPC parameters are written before the IPC namespace is entered: on the node.

use std::fs;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-25-on-the-node",
    target: "NS-25",
    does: "the parameters are written before the IPC namespace is entered",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        let parameters = config["linux"]["sysctl"].as_object().cloned().unwrap_or_default();
        for (name, value) in parameters.iter().filter(|(name, _)| is_ipc(name)) {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            fs::write(&path, value.as_str().unwrap_or_default()).with_context(|| format!("write {path}"))?;
        }
        bundle::edit(call, |config| {
            if let Some(parameters) = config["linux"]["sysctl"].as_object_mut() {
                parameters.retain(|name, _| !is_ipc(name));
            }
        })?;
    }
    base.pass(call)
}

fn is_ipc(name: &str) -> bool {
    ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."].iter().any(|first| name.starts_with(first))
}
