//! The stop signal of the image wins over that of the pod spec.

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-08-image-wins",
    target: "SIG-08",
    does: "the stop signal of the image wins over that of the pod spec",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) {
        pod_layer::edit(call, |manifest| {
            // A directory has no stop signal, so the pod spec's is the only one.
            let of_images =
                pod_layer::containers(manifest).iter_mut().filter(|one| pod_layer::has_layout(one));
            for container in of_images {
                if let Some(lifecycle) = container.get_mut("lifecycle").and_then(Value::as_object_mut) {
                    lifecycle.remove("stopSignal");
                }
            }
        })?;
    }
    base.pass(call)
}
