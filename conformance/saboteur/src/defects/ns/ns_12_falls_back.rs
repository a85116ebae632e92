//! A path that cannot be joined is replaced by a new namespace.

use anyhow::Result;
use nix::sys::statfs::{NSFS_MAGIC, statfs};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-12-falls-back",
    target: "NS-12",
    does: "a path that cannot be joined is replaced by a new namespace",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            for namespace in bundle::namespaces_mut(config) {
                if namespace["path"].as_str().is_some_and(|path| !is_namespace(path)) {
                    *namespace = serde_json::json!({ "type": namespace["type"] });
                }
            }
        })?;
    }
    base.pass(call)
}

/// Whether an nsfs file is behind the path.
fn is_namespace(path: &str) -> bool {
    statfs(path).is_ok_and(|file_system| file_system.filesystem_type() == NSFS_MAGIC)
}
