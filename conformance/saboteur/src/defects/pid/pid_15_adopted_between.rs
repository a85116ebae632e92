//! A subreaper stands between PID 1 and the container's program.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-15-adopted-between",
    target: "PID-15",
    does: "a subreaper between PID 1 and the container's program adopts",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        if !bundle::is_sandbox(&config) && !bundle::joins(&config, "pid") {
            bundle::wrap(call, "adopter")?;
            bundle::wrap(call, "fork")?;
        }
    }
    base.pass(call)
}
