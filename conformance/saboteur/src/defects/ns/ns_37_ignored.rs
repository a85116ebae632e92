//! Clock offsets without a new time namespace are passed over.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-37-ignored",
    target: "NS-37",
    does: "offsets without a time namespace are silently ignored",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            let is_time = |namespace: &serde_json::Value| namespace["type"] == "time";
            if !bundle::namespaces(config).iter().any(is_time) {
                config["linux"].as_object_mut().and_then(|linux| linux.remove("timeOffsets"));
            }
        })?;
    }
    base.pass(call)
}
