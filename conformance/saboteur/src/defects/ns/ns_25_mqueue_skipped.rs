//! Of the IPC parameters those that do not begin with `kernel.` are passed over.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-25-mqueue-skipped",
    target: "NS-25",
    does: "of the IPC parameters only those of kernel.* are written",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            if let Some(parameters) = config["linux"]["sysctl"].as_object_mut() {
                parameters.retain(|name, _| !name.starts_with("fs.mqueue."));
            }
        })?;
    }
    base.pass(call)
}
