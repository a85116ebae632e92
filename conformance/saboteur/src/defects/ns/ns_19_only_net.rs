//! Of the namespaces that no process is in, only the network namespace is kept.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::{kept, pod_layer};

pub(super) const DEFECT: Defect = Defect {
    name: "ns-19-only-net",
    target: "NS-19",
    does: "no process but the containers' own is in their namespaces, and only the network namespace is kept",
    also_red: &[("NS-17", "each run of a container makes its IPC and UTS namespaces anew")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) && pod_layer::manifest(call)?["spec"]["restartPolicy"] == "OnFailure" {
        kept::keep_new(call, &["net"])?;
        // Each run of a container makes the other two, which end with it.
        for mode in ["leave-ipc", "leave-uts", "join-kept"] {
            pod_layer::wrap(call, mode)?;
        }
    }
    kept::pass(call, base)
}
