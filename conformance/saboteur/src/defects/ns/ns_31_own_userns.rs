//! A joining container gets a user namespace of its own, with equal maps.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-31-own-userns",
    target: "NS-31",
    does: "a joining container gets a user namespace of its own with equal maps",
    also_red: &[("NS-32", "root of another user namespace may not write the pod's parameters")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        if bundle::joins(&config, "user") && bundle::joins(&config, "network") {
            bundle::edit(call, |config| {
                bundle::set_path(config, "user", None);
                // The queues of an IPC namespace can be mounted only from the user namespace that owns it.
                if let Some(mounts) = config["mounts"].as_array_mut() {
                    mounts.retain(|mount| mount["type"] != "mqueue");
                }
            })?;
        }
    }
    base.pass(call)
}
