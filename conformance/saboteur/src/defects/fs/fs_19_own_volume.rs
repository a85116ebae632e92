//! Each container has a volume of its own.

use anyhow::Result;
use serde_json::json;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "fs-19-own-volume",
    target: "FS-19",
    does: "each container has a volume of its own",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) && pod_layer::has_empty_dir(call)? {
        pod_layer::edit(call, |manifest| {
            if let Some(volumes) = manifest["spec"]["volumes"].as_array_mut() {
                volumes.push(json!({ "name": "own", "emptyDir": {} }));
            }
            let last = pod_layer::containers(manifest).last_mut();
            let mounts = last.and_then(|container| container["volumeMounts"].as_array_mut());
            for mount in mounts.into_iter().flatten().filter(|mount| mount["name"] == "data") {
                mount["name"] = json!("own");
            }
        })?;
    }
    base.pass(call)
}
