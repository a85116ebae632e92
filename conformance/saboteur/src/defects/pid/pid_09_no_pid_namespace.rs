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
        ("PID-01", "it is not PID 1 of a namespace"),
        ("PID-02", "it has one number only"),
        ("PID-03", "its /proc is that of the node's PID namespace"),
        ("PID-06", "it is not PID 1 of a namespace"),
        ("REAP-06", "its orphans are adopted outside"),
        ("SIG-09", "the program is not PID 1 of a namespace"),
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
