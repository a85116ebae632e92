//! The path of a cgroup namespace is never joined.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-10-cgroup-forgotten",
    target: "NS-10",
    does: "the path of a cgroup namespace is opened and never joined",
    also_red: &[("NS-15", "one of the four types is not joined")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            bundle::namespaces_mut(config)
                .retain(|namespace| namespace["type"] != "cgroup" || !namespace["path"].is_string());
        })?;
    }
    base.pass(call)
}
