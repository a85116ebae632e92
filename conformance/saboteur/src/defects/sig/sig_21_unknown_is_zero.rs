//! An unknown name of a signal is taken for signal 0, which sends nothing and succeeds.

use std::str::FromStr;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-21-unknown-is-zero",
    target: "SIG-21",
    does: "an unknown name is taken for signal 0",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "kill"
        && let Some(name) = call.operand().map(str::to_uppercase)
        && name.parse::<u32>().is_err()
        && [name.clone(), format!("SIG{name}")].iter().all(|name| Signal::from_str(name).is_err())
    {
        return base.pass(&call.other(&["state", call.id()]));
    }
    base.pass(call)
}
