//! The memory limit is written after start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "cg-28-late-limits",
    target: "CG-28",
    does: "the memory limit is written after start",
    also_red: &[],
    act,
};

/// How long the program runs without its limit, unless it ends before; milliseconds.
const LATE_MS: u16 = 2_000;

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let root = call.root().context("--root is needed to keep the limit")?;
    let kept = root.join(format!(".limit-{}", call.id()));
    match call.verb() {
        "create" => create(call, base, &kept),
        "start" if kept.exists() => {
            let code = base.pass(call)?;
            if code == 0 {
                limit(&kept)?;
            }
            Ok(code)
        }
        "delete" if kept.exists() => {
            fs::remove_file(&kept).with_context(|| format!("remove {}", kept.display()))?;
            base.pass(call)
        }
        _ => base.pass(call),
    }
}

fn create(call: &Call, base: &Base, kept: &Path) -> Result<u8> {
    let config = bundle::config(call)?;
    let Some(limit) = config["linux"]["resources"]["memory"]["limit"].as_u64() else {
        return base.pass(call);
    };
    bundle::edit(call, |config| {
        if let Some(resources) = config["linux"]["resources"].as_object_mut() {
            resources.remove("memory");
        }
    })?;
    let late = json!({ "cgroup": cgroup::dir(&config)?, "limit": limit });
    let root = kept.parent().context("find the state root")?;
    fs::create_dir_all(root).with_context(|| format!("make {}", root.display()))?;
    fs::write(kept, late.to_string()).with_context(|| format!("write {}", kept.display()))?;
    base.pass(call)
}

fn limit(kept: &Path) -> Result<()> {
    let text = fs::read(kept).with_context(|| format!("read {}", kept.display()))?;
    let late: Value = serde_json::from_slice(&text).with_context(|| format!("parse {}", kept.display()))?;
    let dir = PathBuf::from(late["cgroup"].as_str().context("find the cgroup of the kept limit")?);
    cgroup::await_empty(&dir, LATE_MS)?;
    cgroup::write(&dir, "memory.max", &late["limit"].to_string())
}
