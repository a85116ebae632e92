//! A joining container gets a network namespace of its own.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-01-own-netns",
    target: "NS-01",
    does: "a joining container gets a network namespace of its own",
    also_red: &[
        ("NS-10", "one of the eight types is not joined"),
        ("NS-11", "a path that is not read cannot be of another type"),
        ("NS-12", "a path that is not read may lead nowhere"),
        ("NS-15", "one of the four types is not joined"),
        ("NS-16", "the containers of the pod are in network namespaces of their own"),
        ("LIFE-34", "localhost of another network namespace has no server"),
        ("NET-02", "localhost of another network namespace has no server"),
        ("NET-04", "the port is free in another network namespace"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            for namespace in bundle::namespaces_mut(config) {
                if namespace["type"] == "network" {
                    *namespace = serde_json::json!({ "type": "network" });
                }
            }
        })?;
    }
    base.pass(call)
}
