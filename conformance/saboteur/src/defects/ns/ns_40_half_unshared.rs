//! A container that joins a PID namespace is left with an unshare(CLONE_NEWPID) that no fork has followed.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-40-half-unshared",
    target: "NS-40",
    does: "a joining container is left with an unshare(CLONE_NEWPID) that no fork has followed",
    also_red: &[
        (
            "REAP-01",
            "the program's orphans belong to another PID namespace, which dies with its first process",
        ),
        (
            "REAP-02",
            "the program's orphans belong to another PID namespace, which dies with its first process",
        ),
        (
            "REAP-06",
            "the program's orphans belong to another PID namespace, which dies with its first process",
        ),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "pid") {
        bundle::wrap(call, "new-pid")?;
    }
    base.pass(call)
}
