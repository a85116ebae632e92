//! A container starts with SIGCHLD ignored where the caller ignores it.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-19-passes-children-on",
    target: "SIG-19",
    does: "a container starts with SIGCHLD ignored where the caller ignores it",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && base.ignores_children() && !bundle::is_sandbox(&bundle::config(call)?) {
        bundle::wrap(call, "ignore-children")?;
    }
    base.pass(call)
}
