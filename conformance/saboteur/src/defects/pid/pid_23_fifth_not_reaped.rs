//! The parent of the fifth exec session never waits for it.

use anyhow::Result;

use super::pid_23_execs_not_reaped::exec;
use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-23-fifth-not-reaped",
    target: "PID-23",
    does: "the parent of the fifth exec session never waits for it",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "exec" && call.count("sessions")? == 4 { exec(call, base) } else { base.pass(call) }
}
