//! The SIGKILL for a paused container is kept until it is resumed.

use std::fs;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-20-waits-for-the-thaw",
    target: "SIG-20",
    does: "kill KILL of a paused container is kept until it is resumed",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let root = call.root().context("--root is needed to keep the signal")?;
    let kept = root.join(format!(".kept-{}", call.id()));
    match call.verb() {
        "kill" if call.operand() == Some("KILL") && is_frozen(call, base)? => {
            fs::write(&kept, "KILL").with_context(|| format!("write {}", kept.display()))?;
            Ok(0)
        }
        "resume" if kept.exists() => {
            let code = base.pass(call)?;
            fs::remove_file(&kept).with_context(|| format!("remove {}", kept.display()))?;
            base.pass(&call.other(&["kill", call.id(), "KILL"]))?;
            Ok(code)
        }
        "delete" if kept.exists() => {
            fs::remove_file(&kept).with_context(|| format!("remove {}", kept.display()))?;
            base.pass(call)
        }
        _ => base.pass(call),
    }
}

fn is_frozen(call: &Call, base: &Base) -> Result<bool> {
    let Some(dir) = cgroup::of_container(call, base)? else { return Ok(false) };
    Ok(fs::read_to_string(dir.join("cgroup.freeze")).is_ok_and(|text| text.trim() == "1"))
}
