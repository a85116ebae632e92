//! The sandbox program looks for dead children every second instead of at SIGCHLD.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-03-polls",
    target: "REAP-03",
    does: "pause looks for dead children every second instead of at SIGCHLD",
    also_red: &[
        ("REAP-11", "it wakes up every second"),
        ("REAP-12", "orphans come faster than once a second"),
        ("REAP-02", "no signals merge that nobody waits for"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "polls")
}
