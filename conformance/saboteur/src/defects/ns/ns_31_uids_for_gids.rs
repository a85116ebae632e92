//! The map of the users is written for the groups, too.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-31-uids-for-gids",
    target: "NS-31",
    does: "the map of the users is written for the groups, too",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            let linux = &mut config["linux"];
            if linux["uidMappings"].is_array() {
                linux["gidMappings"] = linux["uidMappings"].clone();
            }
        })?;
    }
    base.pass(call)
}
