//! `state` keeps giving the first status running that it found.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "life-03-cached-status",
    target: "LIFE-03",
    does: "state keeps giving the first status running that it found",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let root = call.root().context("--root is needed to keep the status")?;
    let cache = root.join(format!(".cached-{}", call.id()));
    match call.verb() {
        "state" if cache.exists() => {
            let state = fs::read_to_string(&cache).with_context(|| format!("read {}", cache.display()))?;
            println!("{state}");
            Ok(0)
        }
        "state" => {
            let output = base.ask(call)?;
            if !output.status.success() {
                return Ok(1);
            }
            let state: Value = serde_json::from_slice(&output.stdout).context("parse the state")?;
            if state["status"] == "running" {
                fs::write(&cache, state.to_string()).with_context(|| format!("write {}", cache.display()))?;
            }
            println!("{state}");
            Ok(0)
        }
        "delete" => {
            let code = base.pass(call)?;
            if cache.exists() {
                fs::remove_file(&cache).with_context(|| format!("remove {}", cache.display()))?;
            }
            Ok(code)
        }
        _ => base.pass(call),
    }
}
