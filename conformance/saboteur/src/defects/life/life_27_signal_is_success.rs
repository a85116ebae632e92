//! Death by signal counts as success.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "life-27-signal-is-success",
    target: "LIFE-27",
    does: "death by signal counts as success",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) && pod_layer::manifest(call)?["spec"]["restartPolicy"] == "OnFailure" {
        pod_layer::wrap(call, "forgive")?;
    }
    base.pass(call)
}
