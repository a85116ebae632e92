//! The end of a container that joins a PID namespace is the end of its main process only.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-18-main-only",
    target: "SIG-18",
    does: "kill and delete end only the main process",
    also_red: &[("PID-19", "delete ends processes by the same kill")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "kill"
        && call.operand() == Some("KILL")
        && let Some(dir) = cgroup::of_container(call, base)?
        && let Some(main) = cgroup::main_process(call, base)?
    {
        spare(&dir, main)?;
    }
    base.pass(call)
}

/// Moves all processes but the main one out of the good runtime's reach: to a cgroup beside the container's.
fn spare(dir: &Path, main: i32) -> Result<()> {
    let processes = fs::read_to_string(dir.join("cgroup.procs")).context("read cgroup.procs")?;
    let others = processes.lines().filter(|line| line.parse() != Ok(main));
    let beside = dir.with_extension("spared");
    fs::create_dir_all(&beside).with_context(|| format!("make {}", beside.display()))?;
    for process in others {
        cgroup::write(&beside, "cgroup.procs", process)?;
    }
    Ok(())
}
