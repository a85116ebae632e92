//! `kill` ends a program that would not take the signal.

use std::fs;

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-09-escalates",
    target: "SIG-09",
    does: "kill sends SIGKILL after a signal that the program has no handler for",
    also_red: &[("PID-07", "PID 1 without a handler is killed after TERM")],
    act,
};

const SIGTERM: u32 = 15;

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let is_stop = call.verb() == "kill" && call.operand() == Some("TERM");
    let code = base.pass(call)?;
    if is_stop && code == 0 && !takes_term(call, base)? {
        return base.pass(&call.other(&["kill", call.id(), "KILL"]));
    }
    Ok(code)
}

/// Whether the program catches SIGTERM, or blocks it in order to read it.
fn takes_term(call: &Call, base: &Base) -> Result<bool> {
    let output = base.ask(&call.other(&["state", call.id()]))?;
    let state: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let status = fs::read_to_string(format!("/proc/{}/status", state["pid"])).unwrap_or_default();
    let is_in = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        mask.and_then(|mask| u64::from_str_radix(mask, 16).ok())
            .is_some_and(|mask| mask & 1 << (SIGTERM - 1) != 0)
    };
    // Gone already: there is nothing to add.
    Ok(status.is_empty() || is_in("SigCgt") || is_in("SigBlk"))
}
