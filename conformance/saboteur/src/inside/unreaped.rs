//! Parents that never wait for their children: of exec sessions, and of the runtime that executes. They run on the node.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, pause};

/// Has the runtime execute a program, detached; says when it has ended, and leaves it a zombie for ever.
pub(super) fn run(pid_file: &str, runtime: &str, arguments: &[String]) -> Result<u8> {
    set_child_subreaper(true).context("become a subreaper")?;
    let status = Command::new(runtime)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("run {runtime}"))?;
    if !status.success() {
        return Ok(1);
    }
    let pid = fs::read_to_string(pid_file).with_context(|| format!("read {pid_file}"))?;
    let pid = Pid::from_raw(pid.trim().parse().with_context(|| format!("parse {pid_file}"))?);
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).context("wait for the session")?;
    println!("ended");
    loop {
        pause();
    }
}

/// Calls the runtime; prints its exit code when it has ended, and leaves it a zombie for ever.
pub(super) fn monitor(runtime: &str, arguments: &[String]) -> Result<u8> {
    let child = Command::new(runtime)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("run {runtime}"))?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("take the number of the runtime")?);
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    match waitid(Id::Pid(pid), flags).context("wait for the runtime")? {
        WaitStatus::Exited(_, code) => println!("{code}"),
        _ => println!("1"),
    }
    loop {
        pause();
    }
}
