//! The pids controller's part of the configuration is ignored.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "cg-14-no-pids-limit",
    target: "CG-14",
    does: "the pids controller's part of the configuration is ignored",
    also_red: &[("REAP-12", "the container that must stay below its limit has none")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            if let Some(resources) = config["linux"]["resources"].as_object_mut() {
                resources.remove("pids");
            }
        })?;
    }
    base.pass(call)
}
