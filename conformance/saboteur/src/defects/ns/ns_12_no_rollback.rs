//! A failing create leaves what it had made until then.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-12-no-rollback",
    target: "NS-12",
    does: "when a path does not exist, create fails and leaves its state and its cgroup",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let config = if call.verb() == "create" { bundle::config(call)? } else { Value::Null };
    let code = base.pass(call)?;
    let is_missing =
        |namespace: &Value| namespace["path"].as_str().is_some_and(|path| !Path::new(path).exists());
    if code != 0 && bundle::namespaces(&config).iter().any(is_missing) {
        let root = call.root().context("--root is needed to leave a state")?;
        for left in [root.join(call.id()), cgroup::dir(&config)?] {
            fs::create_dir_all(&left).with_context(|| format!("make {}", left.display()))?;
        }
    }
    Ok(code)
}
