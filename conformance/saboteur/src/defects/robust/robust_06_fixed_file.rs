//! `create` keeps what it was asked for in a file whose name is always the same.

use std::fs;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "robust-06-fixed-file",
    target: "ROBUST-06",
    does: "create keeps what it was asked for in a file whose name is always the same",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let root = call.root().context("--root is needed to keep the request")?;
        let kept = root.with_extension("request");
        let bundle = call.bundle().display().to_string();
        fs::write(&kept, &bundle).with_context(|| format!("write {}", kept.display()))?;
        // Something else is done in between, long enough for another create to come.
        base.ask(&call.other(&["list", "--quiet"]))?;
        let read = fs::read_to_string(&kept).with_context(|| format!("read {}", kept.display()))?;
        call.replace(&bundle, &read);
    }
    base.pass(call)
}
