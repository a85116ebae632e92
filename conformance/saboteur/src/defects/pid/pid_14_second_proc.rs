//! The node's `/proc` is mounted in the container, at a second place.

use anyhow::Result;
use serde_json::json;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-14-second-proc",
    target: "PID-14",
    does: "the node's /proc is mounted in the container at a second place",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && !bundle::is_sandbox(&bundle::config(call)?) {
        bundle::edit(call, |config| {
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.push(json!({
                    "destination": "/run/proc", "type": "bind", "source": "/proc", "options": ["bind"]
                }));
            }
        })?;
    }
    base.pass(call)
}
