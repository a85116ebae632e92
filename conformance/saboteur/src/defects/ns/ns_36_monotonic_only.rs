//! Only the offset of the monotonic clock is written.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-36-monotonic-only",
    target: "NS-36",
    does: "only the offset of the monotonic clock is written",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            config["linux"]["timeOffsets"].as_object_mut().and_then(|offsets| offsets.remove("boottime"));
        })?;
    }
    base.pass(call)
}
