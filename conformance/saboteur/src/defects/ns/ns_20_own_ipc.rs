//! A joining container gets an IPC namespace of its own.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-20-own-ipc",
    target: "NS-20",
    does: "a joining container gets an IPC namespace of its own",
    also_red: &[
        ("NS-02", "the containers of the pod are in three IPC namespaces"),
        ("NS-10", "one of the eight types is not joined"),
        ("NS-14", "a path that is not read may be relative"),
        ("NS-15", "one of the four types is not joined"),
        ("NS-16", "what a left is not in the IPC namespace of c"),
        ("NS-21", "b is not in the IPC namespace of a's objects"),
        ("NS-22", "b is not in the IPC namespace of a's queue"),
        ("NS-24", "what a left is not in the IPC namespaces of the others"),
        ("NS-25", "the parameters are those of an IPC namespace that nobody joins"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            for namespace in bundle::namespaces_mut(config) {
                if namespace["type"] == "ipc" {
                    *namespace = serde_json::json!({ "type": "ipc" });
                }
            }
        })?;
    }
    base.pass(call)
}
