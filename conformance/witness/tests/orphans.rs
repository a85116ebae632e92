//! Orphans that come one after the other, daemons, and children that are waited for late.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command as Program, Stdio};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getsid};
use podproof_witness::Command;
use serde_json::json;
use support::{AS_PID_1, PROGRAM, Witness, eventually, has_ended, is_root, run};

#[test]
fn stream_stays_unreaped_under_a_pid_1_that_does_not_reap() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut witness = Witness::start_by(&AS_PID_1)?;
    let streamed = witness.ask(Command::StreamOrphans { count: 6, at_most: 3, timeout_ms: 20 })?;
    assert_eq!(streamed["pids"].as_array().context("no pids")?.len(), 6);
    assert_eq!(streamed["errno"], 0);
    // The sixth is made beside five, as nobody reaps them.
    assert_eq!((&streamed["most_unreaped"], &streamed["left"]), (&json!(5), &json!(6)));
    assert_eq!(streamed["gone_after_us"], json!([]));
    assert_eq!(witness.ask(Command::CountZombies)?, 6);
    Ok(())
}

#[test]
fn daemon_is_in_the_session_of_the_process_in_between() -> Result<()> {
    let mut witness = Witness::start()?;
    let daemons = witness.ask_pids(Command::MakeDaemons { count: 1 })?;
    let daemon = *daemons.first().context("no daemon")?;
    let session = getsid(Some(Pid::from_raw(daemon)))?.as_raw();
    assert_ne!(session, getsid(Some(Pid::from_raw(witness.outer_pid()?)))?.as_raw());
    assert_ne!(session, daemon);
    witness.ask(Command::ReleaseOrphans)?;
    eventually("the end of the daemon", || Ok(has_ended(daemon)))
}

#[test]
fn status_is_kept_until_it_is_asked_for() -> Result<()> {
    let mut witness = Witness::start()?;
    let child = witness.ask(Command::ForkExiting { code: 42 })?.as_i64().context("no pid")?;
    let child = i32::try_from(child)?;
    eventually("the end of the child", || Ok(has_ended(child)))?;
    assert_eq!(witness.ask(Command::WaitChild { pid: child })?, json!({ "status": 42 << 8, "errno": 0 }));
    assert_eq!(witness.ask(Command::WaitChild { pid: child })?, json!({ "errno": Errno::ECHILD as i32 }));
    Ok(())
}

#[test]
fn step_leaves_an_orphan_behind() -> Result<()> {
    let mut step = Program::new(PROGRAM).arg("orphan").stdout(Stdio::piped()).spawn()?;
    let mut printed = String::new();
    BufReader::new(step.stdout.take().context("no pipe")?).read_line(&mut printed)?;
    assert!(step.wait()?.success());
    let orphan = Pid::from_raw(printed.trim().parse()?);
    eventually("a session of its own", || Ok(getsid(Some(orphan))? == orphan))?;
    kill(orphan, Signal::SIGKILL)?;
    eventually("the end of the orphan", || Ok(has_ended(orphan.as_raw())))
}

#[test]
fn beside_needs_a_program() -> Result<()> {
    let (status, said) = run(&["beside", "w"])?;
    assert_eq!(status.code(), Some(64));
    assert!(said.contains("beside NAME PROGRAM"), "{said}");
    Ok(())
}
