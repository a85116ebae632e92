//! The grace period begins after the hook.

use anyhow::Result;
use std::fs;

use anyhow::Context;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-11-grace-restarts",
    target: "SIG-11",
    does: "the grace period begins after the hook",
    also_red: &[("SIG-12", "its kill comes after the hook, too")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) {
        // `stop` runs the hook, before the grace period begins.
        if let Some((name, hook)) = pod_layer::hook(call)? {
            fs::write(pod_layer::kept(&name), hook.to_string()).context("keep the hook")?;
        }
        pod_layer::forget_hook(call)?;
    }
    if pod_layer::verb(call) == Some("stop") {
        let kept = pod_layer::kept(pod_layer::last(call)?);
        if let Ok(hook) = fs::read(&kept) {
            fs::remove_file(&kept).context("forget the hook")?;
            let hook: Vec<String> = serde_json::from_slice(&hook)?;
            let mut words = vec!["exec", pod_layer::last(call)?, "--"];
            words.extend(hook.iter().map(String::as_str));
            base.ask(&pod_layer::other(call, &words))?;
        }
    }
    base.pass(call)
}
