//! The address of a pod stays leased after its removal.

use std::fs;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "net-15-lease-kept",
    target: "NET-15",
    does: "the address of a pod stays leased after its removal",
    also_red: &[],
    act,
};

/// Where the good pod layer keeps its leases, below its state directory: a file for each, named POD@ADDRESS.
const LEASES: &str = "network";

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::verb(call) != Some("rm") {
        return base.pass(call);
    }
    let leases = call.root().context("the pod layer has a root")?.join(LEASES);
    let mark = format!("{}@", pod_layer::last(call)?);
    let lease = fs::read_dir(&leases)
        .into_iter()
        .flatten()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(&mark));
    let Some(path) = lease.map(|entry| entry.path()) else { return base.pass(call) };
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let code = base.pass(call)?;
    fs::create_dir_all(&leases).with_context(|| format!("make {}", leases.display()))?;
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(code)
}
