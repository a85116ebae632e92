//! A container that joins a PID namespace gets the `/proc` of the one before.

use anyhow::Result;
use serde_json::json;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-04-proc-before-join",
    target: "PID-04",
    does: "/proc is mounted before the PID namespace is joined, and shows that of the runtime",
    also_red: &[
        ("PID-05", "/proc/self of its /proc tells of the node's numbers"),
        ("PID-16", "parents in its /proc are numbers of the node"),
        ("PID-22", "numbers in its /proc are the node's"),
        ("REAP-01", "parents in its /proc are numbers of the node"),
        ("REAP-05", "the orphan's number is looked up among the processes of the node"),
        ("REAP-06", "zombies are counted in the /proc of the node"),
        ("REAP-11", "/proc/1 is the node's init"),
        ("REAP-13", "the orphan's number is looked up among the processes of the node"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "pid") {
        bundle::edit(call, |config| {
            for mount in config["mounts"].as_array_mut().into_iter().flatten() {
                if mount["destination"] == "/proc" {
                    // What a mount of that moment shows.
                    *mount = json!({
                        "destination": "/proc", "type": "bind", "source": "/proc", "options": ["bind"]
                    });
                }
            }
        })?;
    }
    base.pass(call)
}
