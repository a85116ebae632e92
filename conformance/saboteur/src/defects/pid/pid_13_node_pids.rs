//! `exec` joins every namespace of the container but its PID namespace.

use std::fs::File;
use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use crate::base::Base;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-13-node-pids",
    target: "PID-13",
    does: "exec runs the program in the PID namespace of the node",
    also_red: &[
        ("NS-39", "a process of exec is in the node's PID namespace"),
        ("REAP-13", "the orphan of the exec is in the node's PID namespace"),
        ("SEC-07", "what starts the program of exec sets no filter"),
    ],
    act,
};

/// What is joined; the mount namespace last, as it hides the others' files.
const JOINED: [(&str, CloneFlags); 5] = [
    ("net", CloneFlags::CLONE_NEWNET),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() != "exec" {
        return base.pass(call);
    }
    let pid = base.state(call)?.context("find the container")?["pid"].to_string();
    let (program, arguments) = call.after_id().split_first().context("find the program")?;
    if let Some(dir) = cgroup::of_container(call, base)? {
        cgroup::write(&dir, "cgroup.procs", &std::process::id().to_string())?;
    }
    let spaces = JOINED.map(|(name, kind)| (File::open(format!("/proc/{pid}/ns/{name}")), kind));
    let pid_file = call.pid_file().map(File::create).transpose().context("make the pid file")?;
    for (space, kind) in spaces {
        setns(space.context("open a namespace")?, kind).context("setns")?;
    }
    let mut child = Command::new(program).args(arguments).spawn().context("start the program")?;
    if let Some(mut file) = pid_file {
        file.write_all(child.id().to_string().as_bytes()).context("write the pid file")?;
    }
    if call.is_detached() {
        return Ok(0);
    }
    let status = child.wait().context("wait for the program")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
