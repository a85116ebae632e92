//! The cgroup namespace is made in the cgroup of the runtime, before the process is moved to its own.

use std::path::Path;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-30-unshared-first",
    target: "NS-30",
    does: "the cgroup namespace is made before the process is moved to its cgroup",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::namespaces(&bundle::config(call)?).iter().any(is_new) {
        // From the root of the hierarchy, so that the good runtime still finds its way to every cgroup.
        cgroup::write(Path::new(cgroup::ROOT), "cgroup.procs", "0")?;
        unshare(CloneFlags::CLONE_NEWCGROUP).context("unshare a cgroup namespace")?;
        // It lives as long as this call, which is longer than that of the good runtime.
        let path = format!("/proc/{}/ns/cgroup", std::process::id());
        bundle::edit(call, |config| bundle::set_path(config, "cgroup", Some(&path)))?;
    }
    base.pass(call)
}

/// Whether a cgroup namespace is to be made. One whose path leads nowhere was that of an earlier call for the same bundle.
fn is_new(namespace: &Value) -> bool {
    namespace["type"] == "cgroup" && !namespace["path"].as_str().is_some_and(|path| Path::new(path).exists())
}
