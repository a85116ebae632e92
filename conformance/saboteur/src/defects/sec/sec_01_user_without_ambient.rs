//! The ambient set is applied before the user is changed, which clears it.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sec-01-user-without-ambient",
    target: "SEC-01",
    does: "the ambient set is raised before the user is changed, which clears it: root's containers are right",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            let process = &mut config["process"];
            if process["user"]["uid"].as_u64().is_some_and(|uid| uid != 0)
                && let Some(capabilities) = process["capabilities"].as_object_mut()
            {
                capabilities.remove("ambient");
            }
        })?;
    }
    base.pass(call)
}
