//! PreStop is ignored.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-11-no-hook",
    target: "SIG-11",
    does: "preStop is ignored",
    also_red: &[("SIG-12", "its hook does not run either")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) {
        pod_layer::forget_hook(call)?;
    }
    base.pass(call)
}
