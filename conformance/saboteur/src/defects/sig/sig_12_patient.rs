//! A hook may take ten seconds longer than the grace period.

use std::fs;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-12-patient",
    target: "SIG-12",
    does: "a hook may take ten seconds longer than the grace period",
    also_red: &[("SIG-11", "its kill comes late too")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call)
        && let Some((name, _)) = pod_layer::hook(call)?
    {
        fs::write(pod_layer::kept(&name), "").context("remember the hook")?;
    }
    if pod_layer::verb(call) == Some("stop") {
        let kept = pod_layer::kept(pod_layer::last(call)?);
        if kept.exists() {
            fs::remove_file(&kept).context("forget the hook")?;
            let late = pod_layer::grace(call).map(|grace| grace + 10);
            pod_layer::with_grace(call, late);
        }
    }
    base.pass(call)
}
