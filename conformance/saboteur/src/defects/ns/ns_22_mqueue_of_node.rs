//! /dev/mqueue is the node's.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-22-mqueue-of-node",
    target: "NS-22",
    does: "/dev/mqueue is bind-mounted from the node",
    also_red: &[
        ("NS-11", "the node's queues are mounted beside the state directory, and stay so"),
        ("NS-12", "the node's queues are mounted beside the state directory, and stay so"),
        ("NS-13", "the node's queues are mounted beside the state directory, and stay so"),
        ("NS-14", "the node's queues are mounted beside the state directory, and stay so"),
        ("NS-18", "the mqueue file system is that of the node's IPC namespace, which does not end"),
        ("NS-24", "the mqueue file system is that of the node's IPC namespace, which does not end"),
        ("NS-37", "the node's queues are mounted beside the state directory, and stay so"),
        ("LIFE-10", "the node's queues are mounted beside the state directory, and stay so"),
        ("FS-01", "a file system of the node is mounted in the container"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let queues = of_node(call)?.display().to_string();
        bundle::edit(call, |config| {
            if let Some(mount) = bundle::mount_mut(config, "/dev/mqueue") {
                *mount = serde_json::json!({
                    "destination": "/dev/mqueue", "type": "bind", "source": queues, "options": ["bind", "rw"]
                });
            }
        })?;
    }
    base.pass(call)
}

/// The node's mqueue file system, mounted beside the state directory.
fn of_node(call: &Call) -> Result<PathBuf> {
    let dir = call.root().context("--root is needed to mount beside it")?.with_extension("mqueue");
    if !dir.exists() {
        fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        mount(Some("mqueue"), &dir, Some("mqueue"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mount {}", dir.display()))?;
    }
    Ok(dir)
}
