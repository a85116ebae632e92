//! The memory controller's part of the configuration is ignored.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "cg-02-no-memory-limit",
    target: "CG-02",
    does: "the memory controller's part of the configuration is ignored",
    also_red: &[
        ("CG-28", "it is a memory limit that is looked for before the program runs"),
        ("LIFE-34", "what has no limit is not killed for want of memory"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            if let Some(resources) = config["linux"]["resources"].as_object_mut() {
                resources.remove("memory");
            }
        })?;
    }
    base.pass(call)
}
