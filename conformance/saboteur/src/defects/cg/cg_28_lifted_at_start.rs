//! The memory limit is there after create, and lifted while the program begins.

use std::fs;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "cg-28-lifted-at-start",
    target: "CG-28",
    does: "start lifts the memory limit for its own work, and sets it again when the program has begun",
    also_red: &[],
    act,
};

/// How long the program runs without its limit, unless it ends before; milliseconds.
const LATE_MS: u16 = 2_000;

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() != "start" {
        return base.pass(call);
    }
    let Some(dir) = cgroup::of_container(call, base)? else { return base.pass(call) };
    let file = dir.join("memory.max");
    let limit = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    if limit.trim() == "max" {
        return base.pass(call);
    }
    cgroup::write(&dir, "memory.max", "max")?;
    let code = base.pass(call)?;
    cgroup::await_empty(&dir, LATE_MS)?;
    cgroup::write(&dir, "memory.max", limit.trim())?;
    Ok(code)
}
