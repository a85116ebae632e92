//! An exec session has a subreaper of its own, which stays and reaps nothing.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;
use crate::inside;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-13-keeps-the-orphans",
    target: "REAP-13",
    does: "an exec session has a subreaper of its own, which stays and reaps nothing",
    also_red: &[("PID-13", "the parent of the executed program is the subreaper")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    match call.verb() {
        "create" => bundle::put_self(call, inside::WRAPPER)?,
        "exec" => call.wrap_executed("subreaper-left"),
        _ => {}
    }
    base.pass(call)
}
