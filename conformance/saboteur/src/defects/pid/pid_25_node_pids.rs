//! A container with CAP_SYS_BOOT gets no PID namespace of its own.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-25-node-pids",
    target: "PID-25",
    does: "a container with CAP_SYS_BOOT gets no PID namespace of its own",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && may_boot(call)? {
        bundle::edit(call, |config| {
            bundle::namespaces_mut(config).retain(|namespace| namespace["type"] != "pid");
        })?;
    }
    base.pass(call)
}

fn may_boot(call: &Call) -> Result<bool> {
    let config = bundle::config(call)?;
    let set = config["process"]["capabilities"]["bounding"].as_array();
    Ok(set.is_some_and(|set| set.iter().any(|capability| capability == "CAP_SYS_BOOT")))
}
