//! A joining container leaves the pod's IPC namespace again.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-21-left-again",
    target: "NS-21",
    does: "a joining container leaves the pod's IPC namespace right before its program",
    also_red: &[
        ("NS-02", "the containers of the pod are in IPC namespaces of their own"),
        ("NS-10", "one of the eight types is left again"),
        ("NS-15", "one of the four types is left again"),
        ("NS-16", "what a left is not in the IPC namespace of c"),
        ("NS-20", "the pod's shared memory is a's alone"),
        ("NS-22", "the pod's queues are a's alone"),
        ("NS-24", "what a left is not in the IPC namespaces of the others"),
        ("NS-25", "the parameters are those of the IPC namespace that is left"),
        ("PID-21", "the wrapper runs as a user, who may not make a namespace"),
        ("PID-22", "the wrapper runs as a user, who may not make a namespace"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "ipc") {
        bundle::wrap(call, "leave-ipc")?;
    }
    base.pass(call)
}
