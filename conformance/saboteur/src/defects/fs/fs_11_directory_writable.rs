//! A masked directory is empty, and can be written.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "fs-11-directory-writable",
    target: "FS-11",
    does: "a masked directory is empty, and can be written",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            let Some(masked) = config["linux"]["maskedPaths"].as_array().cloned() else { return };
            let is_directory = |path: &Value| {
                path.as_str().is_some_and(|path| bundle::on_node(config, Path::new(path)).is_dir())
            };
            let (directories, kept): (Vec<Value>, Vec<Value>) = masked.into_iter().partition(is_directory);
            config["linux"]["maskedPaths"] = Value::Array(kept);
            let covers = directories.into_iter().map(|path| {
                json!({ "destination": path, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"] })
            });
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.extend(covers);
            }
        })?;
    }
    base.pass(call)
}
