//! Numbers of signals are taken modulo 64.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

/// The last signal.
const LAST: u32 = 64;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-21-wraps",
    target: "SIG-21",
    does: "numbers of signals are taken modulo 64",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    call.renumber(LAST, |signal| signal % LAST);
    base.pass(call)
}
