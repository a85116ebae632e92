//! Containers that run as root are given CAP_SYS_PTRACE.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-22-ptrace-for-root",
    target: "PID-22",
    does: "containers that run as root are given CAP_SYS_PTRACE",
    also_red: &[("SEC-01", "CAP_SYS_PTRACE is added to the sets of root")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        if !bundle::is_sandbox(&config) && config["process"]["user"]["uid"] == 0 {
            bundle::edit(call, |config| bundle::grant(config, "CAP_SYS_PTRACE"))?;
        }
    }
    base.pass(call)
}
