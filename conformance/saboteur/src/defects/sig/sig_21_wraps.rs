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
    if call.verb() == "kill"
        && let Some(asked) = call.operand().map(str::to_owned)
        && let Ok(signal) = asked.parse::<u32>()
        && signal > LAST
    {
        call.replace(&asked, &(signal % LAST).to_string());
    }
    base.pass(call)
}
