//! An init program becomes PID 1 of the container and starts the program.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-06-init-in-front",
    target: "PID-06",
    does: "an init program, which passes signals on, becomes PID 1 and starts the container's program",
    also_red: &[("PID-01", "the program is not PID 1"), ("PID-02", "the reported pid is the init program's")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        if !bundle::is_sandbox(&config) && !bundle::joins(&config, "pid") {
            bundle::wrap(call, "init")?;
        }
    }
    base.pass(call)
}
