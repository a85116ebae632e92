//! The start of a debug container: the root file system of another one, its own mounts, and PIDs that it is told to see.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use super::WRAPPER;

/// Starts the program with the namespaces of one process and the PID namespace of another, and leaves it running.
pub(super) fn start(target: &str, pids_of: &str, program: &[String]) -> Result<u8> {
    let from = [(pids_of, "pid"), (target, "net"), (target, "ipc"), (target, "uts"), (target, "mnt")];
    let open = |(pid, kind): (&str, &str)| {
        let path = format!("/proc/{pid}/ns/{kind}");
        File::open(&path).with_context(|| format!("open {path}"))
    };
    // All of them first: from another mount namespace they are not to be seen.
    for file in from.into_iter().map(open).collect::<Result<Vec<_>>>()? {
        setns(file, CloneFlags::empty()).context("join a namespace of the pod")?;
    }
    unshare(CloneFlags::CLONE_NEWNS).context("unshare the mount namespace")?;
    Command::new(format!("/{WRAPPER}"))
        .arg("own-proc")
        .args(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start the debug container")?;
    Ok(0)
}

/// Mounts the processes of its PID namespace on `/proc` and executes the program.
pub(super) fn run(program: &str, arguments: &[String]) -> Result<u8> {
    let none: Option<&str> = None;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none).context("mount /proc")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}
