//! The CPU quota is written to the parent of the container's cgroup.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "cg-10-quota-on-parent",
    target: "CG-10",
    does: "the quota is written to the parent of the container's cgroup",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() != "create" {
        return base.pass(call);
    }
    let config = bundle::config(call)?;
    let cpu = &config["linux"]["resources"]["cpu"];
    let (Some(quota), Some(period)) = (cpu["quota"].as_i64(), cpu["period"].as_u64()) else {
        return base.pass(call);
    };
    bundle::edit(call, |config| config["linux"]["resources"]["cpu"] = Value::Object(serde_json::Map::new()))?;
    let code = base.pass(call)?;
    if code == 0 {
        let dir = cgroup::dir(&config)?;
        let parent = dir.parent().context("find the parent of the container's cgroup")?;
        cgroup::write(parent, "cpu.max", &format!("{quota} {period}"))?;
    }
    Ok(code)
}
