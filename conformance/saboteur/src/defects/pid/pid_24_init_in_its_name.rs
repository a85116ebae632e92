//! A small init with the name and the arguments of the container's program becomes PID 1.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-24-init-in-its-name",
    target: "PID-24",
    does: "a small init with the name and the arguments of the program becomes PID 1 and starts it",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        if !bundle::is_sandbox(&config) && !bundle::joins(&config, "pid") {
            bundle::disguise(call)?;
        }
    }
    base.pass(call)
}
