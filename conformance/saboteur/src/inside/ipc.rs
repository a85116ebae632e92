//! The wrapper as a part of the runtime that is in a wrong IPC namespace while it mounts (ipc_namespaces(7)).

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

/// Where the mqueue file system belongs.
const MQUEUE: &str = "/dev/mqueue";

/// Mounts the mqueue file system from a namespace that it then leaves for the right one, and becomes the program.
pub(super) fn mount_early(program: &str, arguments: &[String]) -> Result<u8> {
    let right = File::open("/proc/self/ns/ipc").context("open the IPC namespace")?;
    unshare(CloneFlags::CLONE_NEWIPC).context("unshare(2) of ipc")?;
    fs::create_dir_all(MQUEUE).with_context(|| format!("make {MQUEUE}"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("mqueue"), MQUEUE, Some("mqueue"), flags, None::<&str>)
        .with_context(|| format!("mount {MQUEUE}"))?;
    setns(right, CloneFlags::CLONE_NEWIPC).context("join the IPC namespace")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}
