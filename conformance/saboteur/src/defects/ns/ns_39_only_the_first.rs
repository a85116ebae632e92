//! exec forgets the IPC namespace of the container while a process of an earlier exec runs in it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;
use crate::inside;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-39-only-the-first",
    target: "NS-39",
    does: "exec forgets the IPC namespace while an earlier process of an exec still runs",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    match call.verb() {
        "create" => bundle::put_self(call, inside::WRAPPER)?,
        "exec" => return execute(call, base),
        _ => {}
    }
    base.pass(call)
}

fn execute(call: &mut Call, base: &Base) -> Result<u8> {
    let root = call.root().context("--root is needed to remember what was executed")?;
    let last = root.with_extension(format!("executed-{}", call.id()));
    let runs = |pid: String| Path::new("/proc").join(pid.trim()).exists();
    if fs::read_to_string(&last).is_ok_and(runs) {
        call.wrap_executed("leave-ipc");
    }
    let code = base.pass(call)?;
    if let Some(pid_file) = call.pid_file().filter(|pid_file| pid_file.exists()) {
        fs::copy(pid_file, &last).with_context(|| format!("write {}", last.display()))?;
    }
    Ok(code)
}
