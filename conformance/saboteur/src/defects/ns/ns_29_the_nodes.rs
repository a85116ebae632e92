//! Containers have the cgroup namespace of the node.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::{kept, pod_layer};

pub(super) const DEFECT: Defect = Defect {
    name: "ns-29-the-nodes",
    target: "NS-29",
    does: "no cgroup namespace is made: containers have the node's",
    also_red: &[
        ("NS-27", "two pods have the node's cgroup namespace"),
        ("NS-30", "no container's cgroup namespace begins at its cgroup"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call) {
        kept::keep(call, &["cgroup"])?;
        pod_layer::wrap(call, "join-kept")?;
    }
    kept::pass(call, base)
}
