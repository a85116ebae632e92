//! Pods with user namespaces of their own, which podrt does not make: a wrapper in front of each program makes them.

use anyhow::Result;
use serde_json::{Value, json};

use crate::call::Call;
use crate::pod_layer;

/// The first id of the node that pods get.
const FIRST: usize = 100_000;
/// How many each gets.
const SIZE: usize = 65_536;
/// What maps ids for another process (user_namespaces(7)).
const NEEDED: [&str; 2] = ["SETUID", "SETGID"];

/// Whether the call makes a pod that is to have a user namespace.
pub(crate) fn asked(call: &Call) -> Result<bool> {
    Ok(pod_layer::makes(call) && pod_layer::manifest(call)?["spec"]["hostUsers"] == false)
}

/// Whether the pod of the call is to have a namespace of the node, which none with its own users can have.
pub(crate) fn asks_for_the_nodes(call: &Call) -> Result<bool> {
    let manifest = pod_layer::manifest(call)?;
    Ok(["hostNetwork", "hostPID", "hostIPC"].iter().any(|field| manifest["spec"][field] == true))
}

/// Gives each container of the pod a user namespace with the ids of this place among all pods.
pub(crate) fn give(call: &Call, place: usize) -> Result<()> {
    pod_layer::drop_field(call, "hostUsers")?;
    pod_layer::edit(call, |manifest| {
        for container in pod_layer::containers(manifest) {
            if let Value::Array(added) = &mut container["securityContext"]["capabilities"]["add"] {
                added.extend(NEEDED.map(|name| json!(name)));
            }
        }
    })?;
    pod_layer::wrap_with(call, &["own-user", &(FIRST + place * SIZE).to_string()])
}
