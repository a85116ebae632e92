//! A time namespace without a path is ignored.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-09-time-ignored",
    target: "NS-09",
    does: "a time namespace without a path is silently ignored",
    also_red: &[
        ("NS-36", "without the namespace the offsets of its clocks are refused"),
        ("NS-37", "without the namespace the offsets of its clocks are refused"),
        ("NS-39", "without the namespace the offsets of its clocks are refused"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            bundle::namespaces_mut(config)
                .retain(|namespace| namespace["type"] != "time" || namespace["path"].is_string());
        })?;
    }
    base.pass(call)
}
