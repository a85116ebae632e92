//! The third container that joins a sandbox gets a network namespace of its own.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "net-04-last-one-alone",
    target: "NET-04",
    does: "the third container that joins a sandbox gets a network namespace of its own",
    also_red: &[("NS-16", "the third container has a network namespace of its own")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    super::leave_alone(call)?;
    base.pass(call)
}
