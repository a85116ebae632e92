//! `state` reports the number inside the container.

use std::fs;

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-02-inner-pid",
    target: "PID-02",
    does: "`state` reports the number inside the container",
    also_red: &[("LIFE-01", "the pid file has the number on the node")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() != "state" {
        return base.pass(call);
    }
    base.answer(call, |state| {
        if let Some(inner) = inner_pid(&state["pid"]) {
            state["pid"] = Value::from(inner);
        }
    })
}

/// The last number of NSpid: the innermost. `None` when there is no such process.
fn inner_pid(pid: &Value) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}
