//! Stop always takes the whole grace period.

use anyhow::Result;
use std::time::{Duration, Instant};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-06-full-grace",
    target: "SIG-06",
    does: "stop always takes the whole grace period",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let begin = Instant::now();
    let code = base.pass(call)?;
    if pod_layer::verb(call) == Some("stop") {
        let grace = Duration::from_secs(pod_layer::grace(call).unwrap_or(0));
        pod_layer::idle(grace.saturating_sub(begin.elapsed()))?;
    }
    Ok(code)
}
