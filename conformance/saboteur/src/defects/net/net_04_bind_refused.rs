//! The third container that joins a sandbox is alone in a network namespace, and a filter of its system calls hides that.

use anyhow::Result;
use nix::errno::Errno;
use serde_json::json;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "net-04-bind-refused",
    target: "NET-04",
    does: "the third container that joins is alone in a network namespace, where a filter refuses every bind with EADDRINUSE",
    also_red: &[("NS-16", "the third container has a network namespace of its own")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if super::leave_alone(call)? {
        bundle::edit(call, |config| {
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["bind"], "action": "SCMP_ACT_ERRNO", "errnoRet": Errno::EADDRINUSE as i32 }]
            });
        })?;
    }
    base.pass(call)
}
