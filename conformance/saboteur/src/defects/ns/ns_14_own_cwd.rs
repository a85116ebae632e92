//! A relative path is resolved against the runtime's working directory.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-14-own-cwd",
    target: "NS-14",
    does: "a relative path is resolved against the runtime's working directory",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let cwd = std::env::current_dir().context("find the working directory")?;
        bundle::edit(call, |config| {
            for namespace in bundle::namespaces_mut(config) {
                if let Some(path) = namespace["path"].as_str().filter(|path| !path.starts_with('/')) {
                    namespace["path"] = Value::from(cwd.join(path).display().to_string());
                }
            }
        })?;
    }
    base.pass(call)
}
