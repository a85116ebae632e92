//! Process sharing has no effect.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-06-never-shares",
    target: "REAP-06",
    does: "a container that asks for the sandbox's PID namespace gets a new one",
    also_red: &[
        ("NS-06", "it is not in the sandbox's PID namespace"),
        ("PID-05", "it has not joined"),
        ("REAP-01", "its orphans are not the sandbox's"),
        ("REAP-02", "its orphans are not the sandbox's"),
        ("REAP-04", "its orphans are not the sandbox's"),
        ("REAP-12", "its orphans are not the sandbox's"),
        ("SIG-09", "no container shares the sandbox's PID namespace"),
        ("REAP-03", "its orphans are not the sandbox's"),
        ("REAP-05", "its orphans are not the sandbox's"),
        ("REAP-07", "its orphans are not the sandbox's"),
        ("REAP-11", "PID 1 of its PID namespace is its own program"),
        ("REAP-13", "its orphans are not the sandbox's"),
        ("REAP-16", "the second sandbox program is PID 1 of a namespace"),
        ("REAP-17", "the second sandbox program is PID 1 of a namespace"),
        ("NS-10", "the PID namespace of that path is not joined"),
        ("PID-04", "each container has numbers of its own"),
        ("PID-12", "it makes a PID namespace instead of joining the dead one"),
        ("PID-10", "it is PID 1, whose end is that of its children"),
        ("PID-16", "its orphans are not the sandbox's"),
        ("PID-17", "its program is PID 1"),
        ("PID-22", "no container sees the processes of another"),
        ("PID-21", "no container sees the processes of another"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            for namespace in bundle::namespaces_mut(config) {
                if namespace["type"] == "pid" {
                    *namespace = serde_json::json!({ "type": "pid" });
                }
            }
        })?;
    }
    base.pass(call)
}
