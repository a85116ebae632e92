//! A restarted container gets an IPC namespace of its own.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-17-own-ipc-again",
    target: "NS-17",
    does: "a restarted container gets an IPC namespace of its own",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) && pod_layer::manifest(call)?["spec"]["restartPolicy"] == "OnFailure" {
        pod_layer::wrap(call, "own-ipc-again")?;
    }
    base.pass(call)
}
