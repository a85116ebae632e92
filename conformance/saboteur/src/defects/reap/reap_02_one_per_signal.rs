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
    also_red: &[("REAP-06", "five orphans may end before the first signal is taken")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::is_sandbox(&bundle::config(call)?) {
        bundle::break_pause(call, "one-per-signal")?;
    }
    base.pass(call)
}
