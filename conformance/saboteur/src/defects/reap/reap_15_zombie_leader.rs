//! `state` derives "stopped" from state Z of the main process.

use std::fs;

use anyhow::{Context, Result};
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
    let output = base.ask(call)?;
    if !output.status.success() {
        return Ok(1);
    }
    let mut state: Value = serde_json::from_slice(&output.stdout).context("parse the state")?;
    let status = fs::read_to_string(format!("/proc/{}/status", state["pid"])).unwrap_or_default();
    if status.lines().any(|line| line.starts_with("State:\tZ")) {
        state["status"] = Value::from("stopped");
    }
    println!("{state}");
    Ok(0)
}
