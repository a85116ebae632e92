//! /dev/mqueue is mounted before the IPC namespace is joined.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-22-mounted-too-early",
    target: "NS-22",
    does: "/dev/mqueue is mounted before the pod's IPC namespace is joined",
    also_red: &[
        ("PID-21", "the wrapper runs as a user, who may not make a namespace"),
        ("PID-22", "the wrapper runs as a user, who may not make a namespace"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "ipc") {
        bundle::wrap(call, "mount-mqueue-early")?;
        bundle::edit(call, |config| {
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.retain(|mount| mount["destination"] != "/dev/mqueue");
            }
        })?;
    }
    base.pass(call)
}
