//! `start` changes the status and the program is never executed.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

const NOTHING_RUNS: &str = "it needs a program that runs, and none is executed";

pub(super) const DEFECT: Defect = Defect {
    name: "life-02-not-started",
    target: "LIFE-02",
    does: "start changes the status and the program is never executed",
    also_red: &[
        ("SIG-14", NOTHING_RUNS),
        ("SIG-20", NOTHING_RUNS),
        ("SIG-21", NOTHING_RUNS),
        ("SIG-22", NOTHING_RUNS),
        ("LIFE-01", NOTHING_RUNS),
        ("LIFE-03", NOTHING_RUNS),
        ("LIFE-10", NOTHING_RUNS),
    ],
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
