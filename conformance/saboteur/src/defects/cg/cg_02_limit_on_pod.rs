//! The memory limit of a container stands on the cgroup above it.

use anyhow::{Context, Result};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "cg-02-limit-on-pod",
    target: "CG-02",
    does: "the memory limit stands on the cgroup above the container's: the program is killed all the same",
    also_red: &[("CG-28", "it is the container's own limit that is looked for before the program runs")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        if let Some(limit) = config["linux"]["resources"]["memory"]["limit"].as_u64() {
            let dir = cgroup::dir(&config)?;
            let parent = dir.parent().context("find the parent of the container's cgroup")?;
            // Nobody has switched the controller on for it yet.
            if !parent.join("memory.max").exists() {
                return base.pass(call);
            }
            cgroup::write(parent, "memory.max", &limit.to_string())?;
            bundle::edit(call, |config| {
                if let Some(resources) = config["linux"]["resources"].as_object_mut() {
                    resources.remove("memory");
                }
            })?;
        }
    }
    base.pass(call)
}
