//! A joining container is put into a fresh network namespace by path.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "net-02-fresh-netns",
    target: "NET-02",
    does: "a joining container is put into a fresh network namespace by path",
    also_red: &[
        ("NS-01", "the fresh namespace is not the sandbox's"),
        ("NS-10", "one of the eight types is not joined"),
        ("NS-11", "a path that is not read cannot be of another type"),
        ("NS-12", "a path that is not read may lead nowhere"),
        ("NS-15", "one of the four types is not joined"),
        ("NS-16", "a container that comes later is not in the namespace of the others"),
        ("NS-32", "the namespace belongs to the user namespace of the node"),
        ("LIFE-34", "one container connects to the other over localhost"),
        ("NET-04", "a port is not taken in another namespace"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "network") {
        bundle::join_fresh_network(call)?;
    }
    base.pass(call)
}
