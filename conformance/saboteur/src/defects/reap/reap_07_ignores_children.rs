//! Containers are started with SIGCHLD ignored, so that the kernel reaps for them.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-07-ignores-children",
    target: "REAP-07",
    does: "containers are started with SIGCHLD ignored, so that the kernel reaps for them",
    also_red: &[
        ("REAP-06", "no zombie stays with the program that is PID 1"),
        ("SIG-19", "SIGCHLD is ignored"),
        ("CG-02", "how a child ended is not told to who ignores SIGCHLD"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && !bundle::is_sandbox(&bundle::config(call)?) {
        bundle::wrap(call, "ignore-children")?;
    }
    base.pass(call)
}
