//! The container shares the PID namespace of its monitor.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-18-pids-of-the-node",
    target: "PID-18",
    does: "the container shares the PID namespace of its monitor",
    also_red: &[
        ("NS-05", "the program runs in the PID namespace of the node"),
        ("NS-27", "the program runs in the PID namespace of the node"),
        ("PID-01", "the program runs in the PID namespace of the node"),
        ("PID-03", "the program runs in the PID namespace of the node"),
        ("PID-06", "the program runs in the PID namespace of the node"),
        ("PID-14", "the program runs in the PID namespace of the node"),
        ("PID-15", "the program runs in the PID namespace of the node"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) && pod_layer::manifest(call)?["spec"]["shareProcessNamespace"] != true {
        pod_layer::edit(call, |manifest| manifest["spec"]["hostPID"] = true.into())?;
    }
    base.pass(call)
}
