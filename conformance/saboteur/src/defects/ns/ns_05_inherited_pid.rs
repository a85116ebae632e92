//! The second container of a pod gets the first one's PID namespace.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-05-inherited-pid",
    target: "NS-05",
    does: "the second container of a pod gets the first one's PID namespace",
    also_red: &[("NS-24", "b is in the PID namespace of a, whose end kills it")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let config = if call.verb() == "create" { bundle::config(call)? } else { Value::Null };
    let Some(pod) = bundle::path_of(&config, "network") else { return base.pass(call) };
    let root = call.root().context("--root is needed to remember the first container of a pod")?;
    // Named by the sandbox's network namespace; its inode outlives neither the pod nor this directory.
    let first = root.with_extension(format!("first-{}", inode(Path::new(pod))?));
    if !bundle::joins(&config, "pid")
        && let Ok(pid) = fs::read_to_string(&first)
        && Path::new("/proc").join(pid.trim()).exists()
    {
        let path = format!("/proc/{}/ns/pid", pid.trim());
        bundle::edit(call, |config| {
            for namespace in bundle::namespaces_mut(config) {
                if namespace["type"] == "pid" {
                    namespace["path"] = Value::from(path.as_str());
                }
            }
        })?;
    }
    let code = base.pass(call)?;
    if let Some(pid_file) = call.pid_file()
        && pid_file.exists()
        && !first.exists()
    {
        fs::copy(pid_file, &first).with_context(|| format!("write {}", first.display()))?;
    }
    Ok(code)
}

fn inode(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata(path).with_context(|| format!("stat {}", path.display()))?.ino())
}
