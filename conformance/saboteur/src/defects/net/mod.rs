//! Defects against: the network of a pod.

mod net_02_fresh_netns;
mod net_04_bind_refused;
mod net_04_last_one_alone;
mod net_15_lease_kept;
mod net_15_netns_open;
mod net_15_netns_pinned;

use anyhow::{Context, Result};

use super::Defect;
use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::{pod, pod_layer};

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    net_02_fresh_netns::DEFECT,
    net_04_bind_refused::DEFECT,
    net_04_last_one_alone::DEFECT,
    net_15_lease_kept::DEFECT,
    net_15_netns_open::DEFECT,
    net_15_netns_pinned::DEFECT,
];

/// Which of those that join a sandbox is left alone.
const ALONE: usize = 2;

/// Leaves the third container that joins a sandbox alone in a network namespace; whether the call is about that one.
fn leave_alone(call: &Call) -> Result<bool> {
    if call.verb() != "create" || !bundle::joins(&bundle::config(call)?, "network") {
        return Ok(false);
    }
    let is_alone = pod::names(call, "joined")?.len() == ALONE;
    if is_alone {
        bundle::join_fresh_network(call)?;
    }
    pod::remember(call, "joined")?;
    Ok(is_alone)
}

/// Passes the call on; its exit code, and the network namespace of the pod, if it has started one behind a bridge.
fn pass_to_bridge(call: &Call, base: &Base) -> Result<(u8, Option<String>)> {
    let code = base.pass(call)?;
    let has_bridge = call.arguments.iter().any(|argument| argument.starts_with("bridge:"));
    if pod_layer::verb(call) != Some("run") || !has_bridge || code != 0 {
        return Ok((code, None));
    }
    let manifest = pod_layer::manifest(call)?;
    let name = manifest["metadata"]["name"].as_str().context("the pod has a name")?;
    let document = pod_layer::ask(call, base, &["inspect", name])?;
    Ok((code, Some(format!("/proc/{}/ns/net", document["sandboxPid"]))))
}
