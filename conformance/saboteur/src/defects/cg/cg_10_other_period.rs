//! The CPU quota is converted to a period that was not asked for.

use anyhow::Result;
use serde_json::json;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "cg-10-other-period",
    target: "CG-10",
    does: "quota and period are both halved: the share of CPU time is the same",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            let cpu = &mut config["linux"]["resources"]["cpu"];
            if let (Some(quota), Some(period)) = (cpu["quota"].as_i64(), cpu["period"].as_u64()) {
                cpu["quota"] = json!(quota / 2);
                cpu["period"] = json!(period / 2);
            }
        })?;
    }
    base.pass(call)
}
