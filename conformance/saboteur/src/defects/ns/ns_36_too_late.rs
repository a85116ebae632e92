//! The clock offsets are written when a process is in the time namespace, and the error is ignored: none holds.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-36-too-late",
    target: "NS-36",
    does: "the offsets are written when a process is in the namespace, and the error is ignored",
    also_red: &[("NS-37", "offsets that nobody reads are no reason to refuse a bundle")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            config["linux"].as_object_mut().and_then(|linux| linux.remove("timeOffsets"));
        })?;
    }
    base.pass(call)
}
