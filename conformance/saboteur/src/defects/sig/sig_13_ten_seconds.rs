//! The default grace period of a pod is 10 s.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-13-ten-seconds",
    target: "SIG-13",
    does: "the default grace period of a pod is 10 s",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) {
        pod_layer::edit(call, |manifest| {
            let grace = &mut manifest["spec"]["terminationGracePeriodSeconds"];
            if grace.is_null() {
                *grace = 10.into();
            }
        })?;
    }
    base.pass(call)
}
