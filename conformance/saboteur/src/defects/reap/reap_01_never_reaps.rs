//! The sandbox program does nothing on SIGCHLD.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-01-never-reaps",
    target: "REAP-01",
    does: "pause does nothing on SIGCHLD",
    also_red: &[
        ("REAP-02", "no orphan is reaped"),
        ("REAP-04", "no orphan is reaped"),
        ("REAP-06", "zombies stay with process sharing too"),
        ("REAP-12", "no orphan is reaped"),
        ("REAP-03", "no orphan is reaped"),
        ("REAP-05", "no orphan is reaped"),
        ("REAP-07", "the orphan that shows that pause has waited is not reaped"),
        ("REAP-13", "no orphan is reaped"),
        ("REAP-17", "no orphan is reaped"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "never-reaps")
}
