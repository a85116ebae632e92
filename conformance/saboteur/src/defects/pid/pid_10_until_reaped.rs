//! `state` says running until somebody has reaped the main process.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-10-until-reaped",
    target: "PID-10",
    does: "a container runs until its main process has been reaped",
    also_red: &[("LIFE-03", "the program has ended, and is not reaped when it is asked for")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let memory = call.memory(&format!("main-{}", call.id()))?;
    match call.verb() {
        "create" => {
            let code = base.pass(call)?;
            if let Some(pid_file) = call.pid_file()
                && pid_file.exists()
            {
                fs::copy(pid_file, &memory).with_context(|| format!("write {}", memory.display()))?;
            }
            Ok(code)
        }
        "state" => {
            let pid = fs::read_to_string(&memory).unwrap_or_default();
            let is_there = !pid.trim().is_empty() && Path::new("/proc").join(pid.trim()).exists();
            base.answer(call, |state| {
                if is_there && state["status"] == "stopped" {
                    state["status"] = Value::from("running");
                }
            })
        }
        _ => base.pass(call),
    }
}
