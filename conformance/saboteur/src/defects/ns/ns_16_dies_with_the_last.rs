//! The sandbox is removed together with the last application container.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-16-dies-with-the-last",
    target: "NS-16",
    does: "the sandbox is removed together with the last application container",
    also_red: &[
        ("NS-18", "the sandbox is gone before the check removes it"),
        ("NS-24", "the sandbox is gone before the check removes it"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    match call.verb() {
        "create" => {
            let config = bundle::config(call)?;
            let code = base.pass(call)?;
            if code == 0 && bundle::is_sandbox(&config) {
                remember(call, "sandbox")?;
            } else if code == 0 && bundle::joins(&config, "network") {
                remember(call, "applications")?;
            }
            Ok(code)
        }
        "delete" => {
            let code = base.pass(call)?;
            let application = list(call, "applications")?.join(call.id());
            if code == 0 && application.exists() {
                fs::remove_file(&application).with_context(|| format!("remove {}", application.display()))?;
                if names(call, "applications")?.is_empty() {
                    for sandbox in names(call, "sandbox")? {
                        base.ask(&call.other(&["delete", "--force", &sandbox]))?;
                    }
                }
            }
            Ok(code)
        }
        _ => base.pass(call),
    }
}

/// A directory beside the state directory, with a file per container; it is not there without any.
fn list(call: &Call, name: &str) -> Result<PathBuf> {
    Ok(call.root().context("--root is needed to remember a pod")?.with_extension(name))
}

fn remember(call: &Call, name: &str) -> Result<()> {
    let dir = list(call, name)?;
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let file = dir.join(call.id());
    fs::write(&file, "").with_context(|| format!("write {}", file.display()))
}

fn names(call: &Call, name: &str) -> Result<Vec<String>> {
    let dir = list(call, name)?;
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}
