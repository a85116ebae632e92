//! `kill` and `delete` end the main process only, where no PID namespace ends the others.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-19-main-only",
    target: "PID-19",
    does: "kill and delete end the main process only",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if matches!(call.verb(), "kill" | "delete")
        && let Some(dir) = cgroup::of_container(call, base)?
    {
        let main = base.state(call)?.map_or_else(String::new, |state| state["pid"].to_string());
        for pid in cgroup::processes(&dir) {
            if pid.to_string() != main && is_of_the_node(pid) {
                // Out of the sight of the good runtime. It may have ended meanwhile.
                cgroup::write(Path::new(cgroup::ROOT), "cgroup.procs", &pid.to_string()).unwrap_or_default();
            }
        }
    }
    base.pass(call)
}

/// Whether the process is in the PID namespace of the runtime.
fn is_of_the_node(pid: u32) -> bool {
    let space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    space("self").is_some() && space("self") == space(&pid.to_string())
}
