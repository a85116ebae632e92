//! The node's root stays mounted under a hidden name.

use anyhow::Result;
use serde_json::json;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "fs-01-old-root-left",
    target: "FS-01",
    does: "the node's root stays mounted under a hidden name",
    also_red: &[("PID-14", "the node's /proc is below it")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.push(json!({
                    "destination": "/.old", "type": "bind", "source": "/", "options": ["rbind", "rw"]
                }));
            }
        })?;
    }
    base.pass(call)
}
