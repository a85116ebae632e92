//! The network namespace of a sandbox is made before its user namespace, and belongs to the node's.

use anyhow::Result;
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
        bundle::join_fresh_network(call)?;
    }
    base.pass(call)
}
