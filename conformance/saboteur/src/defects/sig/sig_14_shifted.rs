//! Realtime signals are shifted by one.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

/// The last of the standard signals.
const LAST_STANDARD: u32 = 31;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-14-shifted",
    target: "SIG-14",
    does: "numbers above 31 are shifted by one",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    call.renumber(LAST_STANDARD, |signal| signal + 1);
    base.pass(call)
}
