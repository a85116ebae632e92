//! A container gets a new IPC namespace, listed or not.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-08-always-ipc",
    target: "NS-08",
    does: "a container gets a new IPC namespace even when none is listed",
    also_red: &[("NS-28", "a pod that asks for the node's IPC namespace gets a new one")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            let namespaces = bundle::namespaces_mut(config);
            if !namespaces.iter().any(|namespace| namespace["type"] == "ipc") {
                namespaces.push(serde_json::json!({ "type": "ipc" }));
            }
        })?;
    }
    base.pass(call)
}
