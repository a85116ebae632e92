//! The network namespace of a sandbox is made before its user namespace, and belongs to the node's.

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-32-net-first",
    target: "NS-32",
    does: "the network namespace is made before the user namespace, and is the node's",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let config = if call.verb() == "create" { bundle::config(call)? } else { Value::Null };
    let has_user = bundle::namespaces(&config).iter().any(|namespace| namespace["type"] == "user");
    if has_user && bundle::is_sandbox(&config) {
        unshare(CloneFlags::CLONE_NEWNET).context("unshare a network namespace")?;
        // It lives as long as this call, which is longer than that of the good runtime.
        let path = format!("/proc/{}/ns/net", std::process::id());
        bundle::edit(call, |config| bundle::set_path(config, "network", Some(&path)))?;
    }
    base.pass(call)
}
