//! The sandbox program has no handler for SIGTERM, which PID 1 then ignores.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-01-deaf-pause",
    target: "SIG-01",
    does: "pause has no handler for SIGTERM, which PID 1 then ignores",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::is_sandbox(&bundle::config(call)?) {
        bundle::break_pause(call, "deaf")?;
    }
    base.pass(call)
}
