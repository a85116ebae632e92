//! Processes of exec run without the filter of system calls.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sec-07-exec-unfiltered",
    target: "SEC-07",
    does: "processes of exec run without the filter of system calls",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "exec" {
        // What the good runtime keeps of a container's configuration, and takes the process of exec from.
        let root = call.root().context("--root is needed to find the configuration")?;
        let path = root.join(call.id()).join("config.json");
        let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let mut config: Value =
            serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))?;
        if let Some(linux) = config["linux"].as_object_mut() {
            linux.remove("seccomp");
        }
        fs::write(&path, config.to_string()).with_context(|| format!("write {}", path.display()))?;
    }
    base.pass(call)
}
