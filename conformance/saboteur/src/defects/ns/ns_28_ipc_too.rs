//! A pod with the node's network gets the node's IPC namespace as well.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-28-ipc-too",
    target: "NS-28",
    does: "a pod with the node's network gets the node's IPC namespace as well",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        let has_network = bundle::namespaces(&config).iter().any(|namespace| namespace["type"] == "network");
        if bundle::is_sandbox(&config) && !has_network {
            bundle::edit(call, |config| {
                bundle::namespaces_mut(config).retain(|namespace| namespace["type"] != "ipc");
            })?;
        }
    }
    base.pass(call)
}
