//! A container's program begins in a directory that a descriptor of the runtime is open on.

use anyhow::Result;
use serde_json::{Value, json};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sec-11-unchecked-cwd",
    target: "SEC-11",
    does: "a container's program begins in a directory that a descriptor of the runtime is open on",
    also_red: &[],
    act,
};

/// The descriptor that the runtime forgot to close.
const LEAKED: &str = "/proc/self/fd/7";
/// Where the node's root is until the wrapper has opened it.
const PASSAGE: &str = "/dev/.leak";

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::config(call)?["process"]["cwd"] == LEAKED {
        bundle::wrap(call, "leave-root")?;
        bundle::edit(call, |config| {
            config["process"]["cwd"] = json!("/");
            bundle::wrapper_argument(config, PASSAGE);
            if let Some(Value::Array(mounts)) = config.get_mut("mounts") {
                mounts.push(json!({
                    "destination": PASSAGE, "type": "bind", "source": "/", "options": ["bind", "rw"]
                }));
            }
        })?;
    }
    base.pass(call)
}
