//! One new namespace of each type, held by two processes (namespaces(7), user_namespaces(7)).
//!
//! The user namespace stands alone, so that the others belong to the node's, as those of a pod do.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

/// What a holder prints when it is in its namespaces.
const READY: &str = "ready";
/// Every id of a container maps to itself.
const IDENTITY: &str = "0 0 65536\n";

/// The processes in the new namespaces.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Holders {
    /// In the user namespace.
    pub user: i32,
    /// In a namespace of each other type; PID 1 of its PID namespace. Its time namespace is the one of its
    /// children (`time_for_children`).
    pub others: i32,
}

/// Makes the namespaces and their holders, and prints the holders' numbers.
pub(super) fn make() -> Result<()> {
    let user = start_holder(&["--user"])?;
    for map in ["uid_map", "gid_map"] {
        let path = format!("/proc/{user}/{map}");
        fs::write(&path, IDENTITY).with_context(|| format!("write {path}"))?;
    }
    let new = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(new).context("unshare(2) of mnt, net, ipc, uts, pid and cgroup")?;
    // What a runtime mounts and pivots in this mount namespace must not reach the node.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("make the new mount namespace private")?;
    // The first child becomes PID 1 of the new PID namespace.
    let others = start_holder(&[])?;
    println!("{}", serde_json::to_string(&Holders { user, others })?);
    Ok(())
}

/// Starts a holder and waits until it is in its namespaces; its number.
fn start_holder(options: &[&str]) -> Result<i32> {
    let program = std::env::current_exe().context("find this program")?;
    let mut holder = Command::new(program)
        .args(["helper", "hold"])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start a holder of namespaces")?;
    let mut line = String::new();
    if let Some(stdout) = holder.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).context("listen to a holder of namespaces")?;
    }
    ensure!(line.trim_end() == READY, "a holder of namespaces ended instead of being ready");
    Ok(holder.id().cast_signed())
}

/// Stays until it is killed.
pub(super) fn hold(user: bool) -> Result<()> {
    if user {
        unshare(CloneFlags::CLONE_NEWUSER).context("unshare(2) of user")?;
    } else {
        // Here and not before, as kernel 6.1 refuses vfork(2) in a process whose children have another one.
        let new_time = CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);
        unshare(new_time).context("unshare(2) of time")?;
    }
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{READY}").context("tell that the namespaces are there")?;
    stdout.flush().context("tell that the namespaces are there")?;
    loop {
        nix::unistd::pause();
    }
}
