//! The kill of a container that joins a PID namespace reaches its siblings.

use std::fs;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-18-kills-the-siblings",
    target: "SIG-18",
    does: "kill KILL ends every process of the pod but the sandbox's",
    also_red: &[
        ("SIG-09", "the second of two containers is killed with the first one"),
        ("NS-24", "the second container is killed with the first one"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "kill"
        && call.operand() == Some("KILL")
        && let Some(dir) = cgroup::of_container(call, base)?
        && let Some(pod) = dir.parent()
    {
        for entry in fs::read_dir(pod).with_context(|| format!("list {}", pod.display()))? {
            let path = entry?.path();
            let is_member = path.join("cgroup.kill").exists() && !path.ends_with("pause");
            if is_member && path != dir {
                cgroup::write(&path, "cgroup.kill", "1")?;
            }
        }
    }
    base.pass(call)
}
