//! A filter swallows the program's request to be a subreaper.

use anyhow::Result;
use serde_json::json;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-17-flag-swallowed",
    target: "PID-17",
    does: "a filter in front of the program lets its request to be a subreaper succeed without effect",
    also_red: &[("REAP-17", "the second sandbox program does not become a subreaper")],
    act,
};

/// `PR_SET_CHILD_SUBREAPER` (prctl(2)).
const SET_CHILD_SUBREAPER: u32 = 36;

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "pid") {
        bundle::edit(call, |config| {
            // An errno of 0: the call returns success and is not made.
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{
                    "names": ["prctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0,
                    "args": [{ "index": 0, "value": SET_CHILD_SUBREAPER, "op": "SCMP_CMP_EQ" }]
                }]
            });
        })?;
    }
    base.pass(call)
}
