//! An exit code of 0 is not restarted.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "life-26-exit-0-final",
    target: "LIFE-26",
    does: "an exit code of 0 is not restarted",
    also_red: &[("REAP-14", "the container that exits with 0 is not started again, and ends only once")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) && pod_layer::manifest(call)?["spec"]["restartPolicy"] == "Always" {
        pod_layer::edit(call, |manifest| manifest["spec"]["restartPolicy"] = "OnFailure".into())?;
    }
    base.pass(call)
}
