//! The node's `/proc` is bind-mounted in place of one for the container's PID namespace.

use anyhow::Result;
use serde_json::json;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-03-node-proc",
    target: "PID-03",
    does: "the node's /proc is bind-mounted",
    also_red: &[
        ("PID-04", "/proc/1 is the node's init"),
        ("PID-05", "PPid in /proc/self/status is the parent's number on the node"),
        ("PID-14", "processes of the whole node are listed"),
        ("PID-15", "the orphans' numbers are looked up among the processes of the node"),
        ("PID-16", "the orphans' numbers are looked up among the processes of the node"),
        ("PID-22", "the number of the target is looked up among the processes of the node"),
        ("PID-24", "/proc/1 is the node's init"),
        ("REAP-01", "the orphan's number is looked up among the processes of the node"),
        ("REAP-02", "zombies of the whole node are counted"),
        ("REAP-04", "zombies of the whole node are counted"),
        ("REAP-05", "the orphan's number is looked up among the processes of the node"),
        ("REAP-06", "zombies of the whole node are counted"),
        ("REAP-11", "/proc/1 is the node's init"),
        ("REAP-13", "the orphan's number is looked up among the processes of the node"),
        ("REAP-15", "the witness looks for its main thread by a number that /proc does not use"),
        ("REAP-17", "the orphan's number is looked up among the processes of the node"),
        ("FS-01", "the node's proc is mounted in the container"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && !bundle::is_sandbox(&bundle::config(call)?) {
        bundle::edit(call, |config| {
            for mount in config["mounts"].as_array_mut().into_iter().flatten() {
                if mount["destination"] == "/proc" {
                    *mount = json!({
                        "destination": "/proc", "type": "bind", "source": "/proc", "options": ["bind"]
                    });
                }
            }
        })?;
    }
    base.pass(call)
}
