//! A container that joins every other namespace of the sandbox joins its mount namespace too.

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-07-sandbox-mounts",
    target: "NS-07",
    does: "a container that joins everything else joins the sandbox's mount namespace too",
    also_red: &[
        ("PID-21", "the wrapper runs as a user, who may not join a mount namespace"),
        ("PID-22", "the wrapper runs as a user, who may not join a mount namespace"),
    ],
    act,
};

/// What setns(2) asks for besides `CAP_SYS_ADMIN` to enter a mount namespace.
const NEEDED: &str = "CAP_SYS_CHROOT";

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let config = if call.verb() == "create" { bundle::config(call)? } else { Value::Null };
    let shares = bundle::joins(&config, "network") && bundle::joins(&config, "pid");
    if shares && !bundle::joins(&config, "mount") {
        bundle::wrap(call, "join-mnt")?;
        bundle::edit(call, |config| {
            // With a shared PID namespace the sandbox is PID 1, and its root file system has the program as well.
            bundle::wrapper_argument(config, "/proc/1/ns/mnt");
            bundle::grant(config, NEEDED);
        })?;
    }
    base.pass(call)
}
