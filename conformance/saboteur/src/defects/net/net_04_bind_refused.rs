//! The third container that joins a sandbox is alone in a network namespace, and a filter of its system calls hides that.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod;

pub(super) const DEFECT: Defect = Defect {
    name: "net-04-bind-refused",
    target: "NET-04",
    does: "the third container that joins is alone in a network namespace, where a filter refuses every bind with EADDRINUSE",
    also_red: &[],
    act,
};

/// Which of those that join is left alone.
const ALONE: usize = 2;

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "network") {
        if pod::names(call, "joined")?.len() == ALONE {
            unshare(CloneFlags::CLONE_NEWNET).context("make a fresh network namespace")?;
            let path = format!("/proc/{}/ns/net", std::process::id());
            bundle::edit(call, |config| {
                bundle::set_path(config, "network", Some(&path));
                config["linux"]["seccomp"] = json!({
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{ "names": ["bind"], "action": "SCMP_ACT_ERRNO", "errnoRet": Errno::EADDRINUSE as i32 }]
                });
            })?;
        }
        pod::remember(call, "joined")?;
    }
    base.pass(call)
}
