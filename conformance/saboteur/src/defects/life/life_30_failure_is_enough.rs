//! An init container that failed counts as done.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "life-30-failure-is-enough",
    target: "LIFE-30",
    does: "an init container that failed counts as done",
    also_red: &[("SIG-16", "an init container that stays is wrapped, and its wrapper takes the signal")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) && pod_layer::manifest(call)?["spec"]["initContainers"].is_array() {
        pod_layer::wrap_init(call, "forgive-all")?;
    }
    base.pass(call)
}
