//! A container whose process has ended counts as running until somebody reaps it.

use std::fs;

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "life-03-running-until-reaped",
    target: "LIFE-03",
    does: "a process that has ended counts as running as long as it is a zombie",
    also_red: &[("PID-10", "it is the status after the main process has ended that is asked for")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    match call.verb() {
        "create" => {
            let code = base.pass(call)?;
            if let (0, Some(written), Some(kept)) = (code, call.pid_file(), kept(call)) {
                fs::copy(written, kept)?;
            }
            Ok(code)
        }
        "state" => {
            let pid = kept(call).and_then(|kept| fs::read_to_string(kept).ok());
            let is_there = pid.and_then(|pid| fs::read_to_string(format!("/proc/{}/stat", pid.trim())).ok());
            // Nobody looks at the state letter.
            base.answer(call, |state| {
                if state["status"] == "stopped" && is_there.is_some() {
                    state["status"] = Value::from("running");
                }
            })
        }
        _ => base.pass(call),
    }
}

/// Where the pid of a container is kept, beside the state directory.
fn kept(call: &Call) -> Option<std::path::PathBuf> {
    Some(call.root()?.with_extension(format!("pid-{}", call.id())))
}
