//! A directory of the node stays mounted among the devices.

use anyhow::Result;
use serde_json::json;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "fs-01-bound-below-dev",
    target: "FS-01",
    does: "a directory of the node stays mounted among the devices",
    also_red: &[],
    act,
};

/// No more of the node than this, so that no path of the suite's leads through it.
const OF_NODE: &str = "/bin";

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.push(json!({
                    "destination": "/dev/.bin", "type": "bind", "source": OF_NODE, "options": ["bind", "ro"]
                }));
            }
        })?;
    }
    base.pass(call)
}
