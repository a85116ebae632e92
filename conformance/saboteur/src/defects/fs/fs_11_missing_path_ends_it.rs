//! A masked path that does not exist ends the work on the whole list.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "fs-11-missing-path-ends-it",
    target: "FS-11",
    does: "a masked path that does not exist ends the work on the whole list",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            let Some(masked) = config["linux"]["maskedPaths"].as_array().cloned() else { return };
            let is_there = |path: &Value| on_node(config, path.as_str().unwrap_or_default()).exists();
            let kept: Vec<Value> = masked.into_iter().take_while(is_there).collect();
            config["linux"]["maskedPaths"] = Value::Array(kept);
        })?;
    }
    base.pass(call)
}

/// Where a path of the container is on the node: below what is bound there, or, in the file systems of the kernel, the same.
fn on_node(config: &Value, path: &str) -> PathBuf {
    let bound = config["mounts"].as_array().into_iter().flatten().find_map(|mount| {
        let rest = path.strip_prefix(mount["destination"].as_str()?)?;
        (mount["type"] == "bind").then(|| {
            Path::new(mount["source"].as_str().unwrap_or_default()).join(rest.trim_start_matches('/'))
        })
    });
    bound.unwrap_or_else(|| PathBuf::from(path))
}
