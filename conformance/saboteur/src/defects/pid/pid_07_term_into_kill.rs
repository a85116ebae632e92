//! `kill` sends KILL where TERM is asked for.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-07-term-into-kill",
    target: "PID-07",
    does: "the runtime sends KILL where TERM is asked for",
    also_red: &[
        ("PID-08", "SIGKILL is sent in place of SIGTERM"),
        ("REAP-16", "SIGKILL is sent in place of SIGTERM"),
        ("SIG-01", "SIGKILL is sent in place of SIGTERM"),
        ("SIG-09", "SIGKILL is sent in place of SIGTERM"),
        ("SIG-14", "SIGKILL is sent in place of SIGTERM"),
        ("SIG-20", "SIGKILL is sent in place of SIGTERM"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "kill"
        && let Some(asked) = call.operand().map(str::to_owned)
        && matches!(asked.as_str(), "TERM" | "SIGTERM" | "15")
    {
        call.replace(&asked, "KILL");
    }
    base.pass(call)
}
