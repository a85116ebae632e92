//! Init containers are started together with the others.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "life-30-all-together",
    target: "LIFE-30",
    does: "init containers are started together with the others",
    also_red: &[("SIG-16", "the sidecars and the others do not begin in their order")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) {
        pod_layer::edit(call, |manifest| {
            let mut all = manifest["spec"]["initContainers"].take().as_array().cloned().unwrap_or_default();
            all.retain(|container| container["restartPolicy"] != "Always");
            if let Some(main) = manifest["spec"]["containers"].as_array_mut().filter(|_| !all.is_empty()) {
                main.append(&mut all);
            }
            if let Some(spec) = manifest["spec"].as_object_mut() {
                spec.remove("initContainers");
            }
        })?;
    }
    base.pass(call)
}
