//! A joining container is left in the runtime's own IPC namespace.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-02-ipc-not-joined",
    target: "NS-02",
    does: "a joining container is left in the runtime's own IPC namespace",
    also_red: &[
        ("NS-10", "one of the eight types is not joined"),
        ("NS-13", "of two entries the one with a path is taken away"),
        ("NS-14", "a path that is not read may be relative"),
        ("NS-15", "one of the four types is not joined"),
        ("NS-16", "a, b and c are in the node's IPC namespace, not in the sandbox's"),
        ("NS-20", "the pod's shared memory is the node's"),
        ("NS-21", "the pod's semaphores and queues are the node's"),
        ("NS-22", "the pod's queues are the node's"),
        ("NS-24", "what a left is in the node's IPC namespace, which does not end"),
        ("NS-25", "the containers are in the node's IPC namespace, without the parameters"),
        ("NS-27", "the containers of both pods are in the node's IPC namespace"),
        ("NS-28", "the container is in the node's IPC namespace"),
        ("NS-31", "root of the pod's user namespace may not mount the node's queues"),
        ("NS-32", "root of the pod's user namespace may not mount the node's queues"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            bundle::namespaces_mut(config)
                .retain(|namespace| namespace["type"] != "ipc" || !namespace["path"].is_string());
        })?;
    }
    base.pass(call)
}
