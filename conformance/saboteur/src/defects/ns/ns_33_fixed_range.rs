//! Every pod with a user namespace gets the same ids of the node.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::users;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-33-fixed-range",
    target: "NS-33",
    does: "every pod with a user namespace gets the same range of ids of the node",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if users::asked(call)? && !users::asks_for_the_nodes(call)? {
        users::give(call, 0)?;
    }
    base.pass(call)
}
