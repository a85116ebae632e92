//! A hook may take five seconds longer than the grace period.

use std::fs;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-12-patient",
    target: "SIG-12",
    does: "a hook may take five seconds longer than the grace period",
    also_red: &[("SIG-11", "its kill comes late too")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod::makes(call)
        && let Some((name, _)) = pod::hook(call)?
    {
        fs::write(pod::kept(&name), "").context("remember the hook")?;
    }
    if pod::verb(call) == Some("stop") {
        let kept = pod::kept(pod::last(call)?);
        if kept.exists() {
            fs::remove_file(&kept).context("forget the hook")?;
            let late = pod::grace(call).map(|grace| grace + 5);
            pod::with_grace(call, late);
        }
    }
    base.pass(call)
}
