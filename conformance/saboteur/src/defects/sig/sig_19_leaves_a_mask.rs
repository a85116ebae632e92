//! SIGCHLD, which the runtime blocks while it creates a container, stays blocked.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-19-leaves-a-mask",
    target: "SIG-19",
    does: "SIGCHLD, which the runtime blocks while it creates a container, stays blocked",
    also_red: &[("SIG-14", "SIGCHLD is not caught")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && !bundle::is_sandbox(&bundle::config(call)?) {
        bundle::wrap(call, "block-children")?;
    }
    base.pass(call)
}
