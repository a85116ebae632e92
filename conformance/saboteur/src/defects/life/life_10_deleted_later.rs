//! `delete` answers before it has done its work.

use std::fs;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "life-10-deleted-later",
    target: "LIFE-10",
    does: "delete answers at once, and the work is done after the next question",
    also_red: &[
        ("NS-24", "a container of the same id is made right after a delete"),
        ("PID-19", "they are looked for right after delete"),
        ("CG-36", "the cgroups are looked for right after delete"),
        ("SIG-18", "the processes are looked for right after delete"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let root = call.root().context("--root is needed to remember what is to be done")?;
    let doomed = root.with_extension(format!("doomed-{}", call.id()));
    let is_forced = call.arguments.iter().any(|argument| argument == "--force");
    match call.verb() {
        "delete" if !is_forced => {
            fs::write(&doomed, "").with_context(|| format!("write {}", doomed.display()))?;
            Ok(0)
        }
        _ if doomed.exists() => {
            let code = base.pass(call)?;
            base.ask(&call.other(&["delete", "--force", call.id()]))?;
            fs::remove_file(&doomed).with_context(|| format!("remove {}", doomed.display()))?;
            Ok(code)
        }
        _ => base.pass(call),
    }
}
