//! A path is joined as the type that it is, as setns(fd, 0) does.

use std::fs;

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-11-any-type",
    target: "NS-11",
    does: "the path is joined as the type that it is, whatever the bundle says",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            for namespace in bundle::namespaces_mut(config) {
                if let Some(kind) = namespace["path"].as_str().and_then(true_type) {
                    namespace["type"] = Value::from(kind);
                }
            }
        })?;
    }
    base.pass(call)
}

/// The OCI name of the type of the namespace behind a path: nsfs shows it as `net:[INODE]`.
fn true_type(path: &str) -> Option<&'static str> {
    let target = fs::read_link(path).ok()?;
    let (kind, _) = target.to_str()?.split_once(':')?;
    Some(match kind {
        "mnt" => "mount",
        "net" => "network",
        "ipc" => "ipc",
        "uts" => "uts",
        "pid" => "pid",
        "cgroup" => "cgroup",
        "user" => "user",
        "time" => "time",
        _ => return None,
    })
}
