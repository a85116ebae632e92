//! A file that keeps the network namespace is left mounted.

use std::fs;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "net-15-netns-pinned",
    target: "NET-15",
    does: "a file that keeps the network namespace is left mounted",
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
        let from = format!("/proc/{}/ns/net", document["sandboxPid"]);
        let to = call.root().context("the pod layer has a root")?.join("netns");
        fs::write(&to, "").with_context(|| format!("make {}", to.display()))?;
        let none: Option<&str> = None;
        mount(Some(from.as_str()), &to, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("mount {from} on {}", to.display()))?;
    }
    Ok(code)
}
