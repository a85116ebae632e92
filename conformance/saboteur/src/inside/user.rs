//! The wrapper as the part of a pod layer that makes a user namespace (user_namespaces(7)).

use std::fs;
use std::io::{Read, stdin};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, getpid, setresgid, setresuid};

use super::WRAPPER;

/// How many ids a pod gets.
const SIZE: u32 = 65_536;

/// Makes the namespace, whose ids begin with this one of the node, and executes the program as its root.
pub(super) fn run(first: &str, program: &str, arguments: &[String]) -> Result<u8> {
    // More than one id can be mapped from outside only: by a child that stays there.
    let mut mapper = Command::new(format!("/{WRAPPER}"))
        .args(["map-user", &getpid().to_string(), first])
        .stdin(Stdio::piped())
        .spawn()
        .context("start what writes the maps")?;
    unshare(CloneFlags::CLONE_NEWUSER).context("unshare the user namespace")?;
    drop(mapper.stdin.take());
    let mapped = mapper.wait().context("wait for the maps")?;
    ensure!(mapped.success(), "write the maps: {mapped}");
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(gid, gid, gid).context("become group 0")?;
    setresuid(uid, uid, uid).context("become user 0")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}

/// Writes both maps of a process as soon as the standard input ends.
pub(super) fn map(pid: &str, first: &str) -> Result<u8> {
    stdin().read_to_end(&mut Vec::new()).context("wait for the namespace")?;
    for file in ["uid_map", "gid_map"] {
        let path = format!("/proc/{pid}/{file}");
        fs::write(&path, format!("0 {first} {SIZE}")).with_context(|| format!("write {path}"))?;
    }
    Ok(0)
}
