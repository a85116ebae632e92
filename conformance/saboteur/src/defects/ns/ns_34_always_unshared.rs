//! A sandbox gets a user namespace of its own although none is listed.

use anyhow::Result;
use serde_json::json;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-34-always-unshared",
    target: "NS-34",
    does: "a sandbox gets a user namespace of its own, with maps that change no id",
    also_red: &[
        ("NS-28", "root of the sandbox's user namespace may not mount the node's queues"),
        ("REAP-16", "root of a second user namespace may not mount the pod's /proc"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        let has_user = bundle::namespaces(&config).iter().any(|namespace| namespace["type"] == "user");
        if bundle::is_sandbox(&config) && !has_user {
            bundle::edit(call, |config| {
                let all = json!([{ "containerID": 0, "hostID": 0, "size": u32::MAX }]);
                bundle::namespaces_mut(config).push(json!({ "type": "user" }));
                config["linux"]["uidMappings"] = all.clone();
                config["linux"]["gidMappings"] = all;
            })?;
        }
    }
    base.pass(call)
}
