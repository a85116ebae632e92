//! A joining container gets a new UTS namespace with a copy of the host name.

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;
use crate::uts;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-03-copied-name",
    target: "NS-03",
    does: "a joining container gets a new UTS namespace with a copy of the name",
    also_red: &[
        ("NS-10", "one of the eight types is not joined"),
        ("NS-15", "one of the four types is not joined"),
        ("NS-16", "the containers of the pod are in UTS namespaces of their own"),
        ("NS-26", "of the names only the host name is copied, not the domain name"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let config = if call.verb() == "create" { bundle::config(call)? } else { Value::Null };
    if let Some(path) = bundle::path_of(&config, "uts") {
        let name = uts::name_in(path)?;
        bundle::edit(call, |config| {
            config["hostname"] = Value::from(name);
            for namespace in bundle::namespaces_mut(config) {
                if namespace["type"] == "uts" {
                    *namespace = serde_json::json!({ "type": "uts" });
                }
            }
        })?;
    }
    base.pass(call)
}
