//! The sandbox program waits for one child per SIGCHLD, although signals merge.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-02-one-per-signal",
    target: "REAP-02",
    does: "pause waits for one child per SIGCHLD",
    also_red: &[
        ("REAP-04", "fifty orphans end for one signal"),
        ("REAP-06", "five orphans may end before the first signal is taken"),
        ("REAP-12", "orphans may end before the signal of the one before is taken"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "one-per-signal")
}
