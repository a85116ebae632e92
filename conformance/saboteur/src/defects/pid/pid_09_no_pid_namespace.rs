//! A container gets no PID namespace of its own.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-09-no-pid-namespace",
    target: "PID-09",
    does: "a container that asks for a PID namespace of its own stays in its caller's",
    also_red: &[
        ("NS-05", "it is in the node's PID namespace"),
        ("NS-09", "it is in the node's PID namespace"),
        ("NS-27", "the containers are in the node's PID namespace"),
        ("NS-28", "the containers are in the node's PID namespace"),
        ("NS-31", "root of a user namespace may not mount the node's /proc"),
        ("NS-32", "root of a user namespace may not mount the node's /proc"),
        ("NS-39", "root of a user namespace may not mount the node's /proc"),
        ("PID-01", "it is not PID 1 of a namespace"),
        ("PID-02", "it has one number only"),
        ("PID-03", "its /proc is that of the node's PID namespace"),
        ("PID-06", "it is not PID 1 of a namespace"),
        ("PID-07", "it is not PID 1 of a namespace"),
        ("PID-08", "the sender has a number in the same PID namespace"),
        ("PID-13", "the parent of exec's program has a number in the same PID namespace"),
        ("PID-14", "the node's processes are in its PID namespace"),
        ("PID-15", "its orphans are adopted outside"),
        ("PID-24", "it is not PID 1 of a namespace"),
        ("PID-25", "it is not PID 1 of a namespace"),
        ("REAP-06", "its orphans are adopted outside"),
        ("SIG-09", "the program is not PID 1 of a namespace"),
        ("ROBUST-06", "all the pods are in the node's PID namespace"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && !bundle::is_sandbox(&bundle::config(call)?) {
        bundle::edit(call, |config| {
            bundle::namespaces_mut(config)
                .retain(|namespace| namespace["type"] != "pid" || namespace["path"].is_string());
        })?;
    }
    base.pass(call)
}
