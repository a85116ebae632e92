//! `state` derives "stopped" from state Z of the main process.

use std::fs;

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-15-zombie-leader",
    target: "REAP-15",
    does: "'stopped' is derived from state Z in /proc/PID/stat",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() != "state" {
        return base.pass(call);
    }
    base.answer(call, |state| {
        let status = fs::read_to_string(format!("/proc/{}/status", state["pid"])).unwrap_or_default();
        if status.lines().any(|line| line.starts_with("State:\tZ")) {
            state["status"] = Value::from("stopped");
        }
    })
}
