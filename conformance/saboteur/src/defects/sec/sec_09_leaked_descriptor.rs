//! A directory stays open when the program is executed.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sec-09-leaked-descriptor",
    target: "SEC-09",
    does: "a directory stays open when the program is executed",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && !bundle::is_sandbox(&bundle::config(call)?) {
        bundle::wrap(call, "leak")?;
    }
    base.pass(call)
}
