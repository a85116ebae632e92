//! The end of any child of the main process is taken for the end of the container.

use std::fs;

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-11-any-sigchld",
    target: "PID-11",
    does: "the end of any child of the main process is taken for the end of the container, which is killed",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "state"
        && let Some(state) = base.state(call)?
        && has_ended_child(&state["pid"].to_string())
    {
        base.pass(&call.other(&["kill", call.id(), "KILL"]))?;
    }
    base.pass(call)
}

/// Whether a child of this process has ended: nobody has reaped it then.
fn has_ended_child(pid: &str) -> bool {
    let is_one = |status: &str| {
        let has = |line: &str| status.lines().any(|found| found == line);
        has(&format!("PPid:\t{pid}")) && has("State:\tZ (zombie)")
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok()).any(|s| is_one(&s))
}
