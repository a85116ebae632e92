//! The limit of the pod as a whole is ignored.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "cg-23-no-pod-limit",
    target: "CG-23",
    does: "the limit of the pod as a whole is ignored",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) {
        pod_layer::edit(call, |manifest| {
            if let Some(spec) = manifest["spec"].as_object_mut() {
                spec.remove("resources");
            }
        })?;
    }
    base.pass(call)
}
