//! `run` begins to watch after start, and takes a program that has ended by then for a good one.

use anyhow::{Context, Result, bail};
use nix::sys::prctl;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "robust-17-late-monitor",
    target: "ROBUST-17",
    does: "run begins to watch after start, and takes a program that has ended by then for a good one",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() != "run" {
        return base.pass(call);
    }
    // The container's process becomes a child of this one.
    prctl::set_child_subreaper(true).context("become a subreaper")?;
    let id = call.id().to_owned();
    call.replace("run", "create");
    let created = base.pass(call)?;
    if created != 0 {
        return Ok(created);
    }
    let started = base.pass(&call.other(&["start", &id]))?;
    let code = if started == 0 { watch(call, &id, base)? } else { started };
    base.pass(&call.other(&["delete", "--force", &id]))?;
    Ok(code)
}

fn watch(call: &Call, id: &str, base: &Base) -> Result<u8> {
    let output = base.ask(&call.other(&["state", id]))?;
    let state: Value = serde_json::from_slice(&output.stdout).context("parse the state")?;
    if state["status"] == "stopped" {
        // The defect: nobody looks at how it ended.
        return Ok(0);
    }
    let pid =
        state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).context("find the pid in the state")?;
    match waitpid(Pid::from_raw(pid), None)? {
        WaitStatus::Exited(_, code) => Ok(u8::try_from(code).unwrap_or(1)),
        WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as u8),
        other => bail!("the program neither ended nor was killed: {other:?}"),
    }
}
