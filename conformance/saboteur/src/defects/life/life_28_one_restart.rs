//! A program that failed is run once more.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "life-28-one-restart",
    target: "LIFE-28",
    does: "a program that failed is run once more",
    also_red: &[
        ("REAP-08", "the reported end is that of the second run, and the first one's is not a container's"),
        ("REAP-09", "the program that was killed is run again, and the container goes on"),
        ("CG-03", "the program that was killed is run again, and the container goes on"),
        ("CG-23", "the program that was killed is run again"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) && pod_layer::manifest(call)?["spec"]["restartPolicy"] == "Never" {
        pod_layer::wrap(call, "again")?;
    }
    base.pass(call)
}
