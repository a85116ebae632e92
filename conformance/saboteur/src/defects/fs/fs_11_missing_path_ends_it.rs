//! A masked path that does not exist ends the work on the whole list.

use std::path::Path;

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
            let is_there =
                |path: &Value| bundle::on_node(config, Path::new(path.as_str().unwrap_or_default())).exists();
            let kept: Vec<Value> = masked.into_iter().take_while(is_there).collect();
            config["linux"]["maskedPaths"] = Value::Array(kept);
        })?;
    }
    base.pass(call)
}
