//! A process of the runtime keeps a descriptor of the network namespace.

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::holder;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "net-15-netns-open",
    target: "NET-15",
    does: "a process of the runtime keeps a descriptor of the network namespace",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let code = base.pass(call)?;
    let has_bridge = call.arguments.iter().any(|argument| argument.starts_with("bridge:"));
    if pod_layer::verb(call) == Some("run") && has_bridge && code == 0 {
        let manifest = pod_layer::manifest(call)?;
        let name = manifest["metadata"]["name"].as_str().context("the pod has a name")?;
        let document = pod_layer::ask(call, base, &["inspect", name])?;
        holder::keep_open(&format!("/proc/{}/ns/net", document["sandboxPid"]))?;
    }
    Ok(code)
}
