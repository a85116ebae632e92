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
    also_red: &[("REAP-02", "no orphan is reaped"), ("REAP-06", "zombies stay with process sharing too")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::is_sandbox(&bundle::config(call)?) {
        bundle::break_pause(call, "never-reaps")?;
    }
    base.pass(call)
}
