//! The configured stop signal is ignored.

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-07-always-term",
    target: "SIG-07",
    does: "the configured stop signal is ignored",
    also_red: &[("SIG-08", "the image's signal is sent in place of the ignored one")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) {
        pod_layer::edit(call, |manifest| {
            for container in pod_layer::containers(manifest) {
                if let Some(lifecycle) = container.get_mut("lifecycle").and_then(Value::as_object_mut) {
                    lifecycle.remove("stopSignal");
                }
            }
        })?;
    }
    base.pass(call)
}
