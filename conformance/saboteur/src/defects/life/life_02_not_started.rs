//! `start` changes the status and the program is never executed.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::defects::{ANY, Defect};

pub(super) const DEFECT: Defect = Defect {
    name: "life-02-not-started",
    target: "LIFE-02",
    does: "start changes the status and the program is never executed",
    also_red: &[(ANY, "it needs a program that runs, and none is executed")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let root = call.root().context("--root is needed to keep the false status")?;
    let started = root.join(format!(".started-{}", call.id()));
    match call.verb() {
        "start" => {
            fs::write(&started, "").with_context(|| format!("write {}", started.display()))?;
            Ok(0)
        }
        "state" if started.exists() => base.answer(call, |state| {
            if state["status"] == "created" {
                state["status"] = Value::from("running");
            }
        }),
        "delete" => {
            let code = base.pass(call)?;
            if started.exists() {
                fs::remove_file(&started).with_context(|| format!("remove {}", started.display()))?;
            }
            Ok(code)
        }
        _ => base.pass(call),
    }
}
