//! A container that is made again gets an IPC namespace of its own.

use std::fs;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-24-fresh-ipc",
    target: "NS-24",
    does: "a container that is made again gets an IPC namespace of its own",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "ipc") {
        let known = call.root().context("--root is needed to remember ids")?.with_extension("ids");
        fs::create_dir_all(&known).with_context(|| format!("make {}", known.display()))?;
        let id = known.join(call.id());
        if id.exists() {
            bundle::edit(call, |config| {
                for namespace in bundle::namespaces_mut(config) {
                    if namespace["type"] == "ipc" {
                        *namespace = serde_json::json!({ "type": "ipc" });
                    }
                }
            })?;
        }
        fs::write(&id, "").with_context(|| format!("write {}", id.display()))?;
    }
    base.pass(call)
}
