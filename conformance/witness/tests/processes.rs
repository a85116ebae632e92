//! Children, orphans and zombies, against `/proc` seen from outside.

mod support;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use podproof_witness::Command;
use serde_json::json;
use support::{AS_PID_1, Witness, descriptors_of, eventually, has_ended, is_root, open_dir, status_of};

/// Outer pids of the children of a process.
fn children_of(pid: i32) -> Result<Vec<i32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let list = fs::read_to_string(thread?.path().join("children"))?;
        children.extend(list.split_whitespace().map(str::parse::<i32>).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(children)
}

#[test]
fn sleepers_are_children_without_the_connection_and_die_with_the_witness() -> Result<()> {
    let mut witness = Witness::start()?;
    let pid = witness.outer_pid()?;
    witness.ask(Command::MakeOrphans { count: 1 })?;
    let together = witness.ask_pids(Command::ForkSleepers { count: 3, sessions: false })?;
    let apart = witness.ask_pids(Command::ForkSleepers { count: 2, sessions: true })?;
    let all: Vec<i32> = together.iter().chain(&apart).copied().collect();
    assert_eq!(children_of(pid)?.into_iter().collect::<BTreeSet<_>>(), all.iter().copied().collect());
    for sleeper in &all {
        let fds = descriptors_of(*sleeper)?;
        assert_eq!(fds.iter().map(|(fd, _)| *fd).collect::<Vec<_>>(), [0, 1, 2], "{fds:?}");
        let session = nix::unistd::getsid(Some(Pid::from_raw(*sleeper)))?.as_raw();
        assert_eq!(session == *sleeper, apart.contains(sleeper));
    }
    assert_eq!(witness.abandon()?.code(), Some(85));
    eventually("the end of the sleepers", || Ok(all.iter().all(|sleeper| has_ended(*sleeper))))
}

#[test]
fn sleepers_die_with_a_killed_witness() -> Result<()> {
    let mut witness = Witness::start()?;
    let sleepers = witness.ask_pids(Command::ForkSleepers { count: 2, sessions: true })?;
    nix::sys::signal::kill(Pid::from_raw(witness.outer_pid()?), nix::sys::signal::SIGKILL)?;
    witness.wait()?;
    eventually("the end of the sleepers", || Ok(sleepers.iter().all(|sleeper| has_ended(*sleeper))))
}

#[test]
fn staying_children_outlive_the_witness() -> Result<()> {
    let mut witness = Witness::start()?;
    let brief = witness.ask_pids(Command::ForkStaying { count: 2, for_ms: 20 })?;
    eventually("the end of their time", || Ok(brief.iter().all(|pid| has_ended(*pid))))?;
    let staying = witness.ask_pids(Command::ForkStaying { count: 2, for_ms: 600_000 })?;
    witness.tell(Command::Exit { code: 0 })?;
    witness.wait()?;
    for pid in staying {
        assert!(!has_ended(pid));
        let number = Pid::from_raw(pid);
        assert_eq!(nix::unistd::getsid(Some(number))?, number);
        nix::sys::signal::kill(number, nix::sys::signal::SIGKILL)?;
        eventually("the end of a killed child", || Ok(has_ended(pid)))?;
    }
    Ok(())
}

#[test]
fn nested_child_has_a_pid_namespace_of_its_own() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    for launcher in [&AS_PID_1[..], &["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]] {
        let mut witness = Witness::start_by(launcher)?;
        let outer = witness.outer_pid()?;
        let pid = witness.ask(Command::ForkNested)?;
        let children = children_of(outer)?;
        assert_eq!(children.len(), 1);
        let numbers = status_of(children[0], "NSpid").context("no NSpid")?;
        let numbers: Vec<i64> = numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        assert_eq!(numbers.last(), Some(&1));
        assert_eq!(json!(numbers[numbers.len() - 2]), pid);
        let ns = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid"));
        assert_ne!(ns(children[0])?, ns(outer)?);
        witness.abandon()?;
        eventually("the end of the nested child", || Ok(has_ended(children[0])))?;
    }
    Ok(())
}

#[test]
fn thousand_orphans_end_together_and_stay_zombies_under_a_pid_1_that_does_not_reap() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut witness = Witness::start_by(&AS_PID_1)?;
    let mut pids = witness.ask_pids(Command::MakeOrphans { count: 600 })?;
    pids.extend(witness.ask_pids(Command::MakeOrphans { count: 400 })?);
    assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 1000);
    assert_eq!(witness.ask(Command::CountZombies)?, 0);
    assert_eq!(witness.ask(Command::WaitZombiesReach { at_least: 1, timeout_ms: 20 })?, 0);
    let listed = witness.ask(Command::Processes)?;
    let listed = listed.as_array().context("no array")?;
    // PID 1 and the orphans, whose parents are gone without a trace.
    assert_eq!(listed.len(), 1001);
    let orphans: BTreeSet<_> = listed
        .iter()
        .filter(|process| process["ppid"] == 1)
        .map(|process| process["pid"].to_string())
        .collect();
    assert_eq!(orphans, pids.iter().map(i32::to_string).collect());
    assert!(listed.iter().all(|process| process["comm"] == "witness"));

    assert_eq!(witness.ask(Command::ReleaseOrphans)?, json!(null));
    assert_eq!(witness.ask(Command::WaitZombiesReach { at_least: 1000, timeout_ms: 30_000 })?, 1000);
    assert_eq!(witness.ask(Command::WaitZombies { at_most: 999, timeout_ms: 20 })?, 1000);
    // Forking and waiting for own children reaps none of them.
    witness.ask(Command::Spin { wall_ms: 1 })?;
    witness.ask(Command::ForkUntilRefused { at_most: 3 })?;
    assert_eq!(witness.ask(Command::CountZombies)?, 1000);
    assert_eq!(witness.abandon()?.code(), Some(85));
    Ok(())
}

#[test]
fn orphans_go_to_the_subreaper_and_exit_with_zero() -> Result<()> {
    prctl::set_child_subreaper(true)?;
    let mut witness = Witness::start()?;
    let pids = witness.ask_pids(Command::MakeOrphans { count: 20 })?;
    let held = witness.ask_pids(Command::ForkSleepers { count: 1, sessions: false })?;
    assert_eq!(held.len(), 1);
    for pid in &pids {
        assert_eq!(status_of(*pid, "PPid"), Some(getpid().to_string()));
        eventually("an orphan that waits", || {
            Ok(status_of(*pid, "State").is_some_and(|state| state.starts_with('S')))
        })?;
        // Nothing but what it waits on, and no connection.
        let fds = descriptors_of(*pid)?;
        assert_eq!(fds.len(), 4, "{fds:?}");
        assert!(fds[3].1.starts_with("pipe:"), "{fds:?}");
    }
    witness.ask(Command::ReleaseOrphans)?;
    for pid in pids {
        let pid = Pid::from_raw(pid);
        assert_eq!(waitpid(pid, None)?, WaitStatus::Exited(pid, 0));
    }
    witness.abandon()?;
    Ok(())
}

#[test]
fn orphans_end_with_a_witness_that_is_killed() -> Result<()> {
    let mut witness = Witness::start()?;
    let pids = witness.ask_pids(Command::MakeOrphans { count: 5 })?;
    nix::sys::signal::kill(Pid::from_raw(witness.outer_pid()?), nix::sys::signal::SIGKILL)?;
    witness.wait()?;
    eventually("the end of the orphans", || Ok(pids.iter().all(|pid| has_ended(*pid))))
}

#[test]
fn refused_forks_and_threads_are_counted() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    // A user of this run alone: what an earlier one left to init counts for its user until it is reaped.
    let user = 200_000 + std::process::id();
    let mut witness = Witness::start_by(&[
        "setpriv",
        &format!("--reuid={user}"),
        &format!("--regid={user}"),
        "--clear-groups",
        "prlimit",
        "--nproc=20",
    ])?;
    for command in [Command::ForkUntilRefused { at_most: 100 }, Command::ThreadsUntilRefused { at_most: 100 }]
    {
        assert_eq!(witness.ask(command)?, json!({ "made": 19, "errno": Errno::EAGAIN as i32 }));
    }
    for command in [Command::ForkUntilRefused { at_most: 5 }, Command::ThreadsUntilRefused { at_most: 5 }] {
        assert_eq!(witness.ask(command)?, json!({ "made": 5, "errno": 0 }));
    }
    // Refused as a whole, and nothing is left of the part that worked.
    assert_eq!(witness.ask_in_vain(Command::ForkSleepers { count: 30, sessions: false })?, Errno::EAGAIN);
    assert_eq!(witness.ask_in_vain(Command::MakeOrphans { count: 30 })?, Errno::EAGAIN);
    eventually("no children", || Ok(children_of(witness.outer_pid()?)?.is_empty()))?;
    witness.abandon()?;
    Ok(())
}

#[test]
fn ignored_sigchld_spoils_no_command() -> Result<()> {
    let mut witness = Witness::start_by(&["env", "--ignore-signal=CHLD"])?;
    let sleepers = witness.ask_pids(Command::ForkSleepers { count: 1, sessions: false })?;
    assert_eq!(witness.ask(Command::SignalFromChild { pid: sleepers[0], signal: 9 })?, 0);
    eventually("the end of the sleeper", || Ok(has_ended(sleepers[0])))?;
    assert!(witness.ask(Command::Spin { wall_ms: 5 })?["cpu_ns"].is_u64());
    assert_eq!(witness.ask(Command::ForkUntilRefused { at_most: 3 })?["made"], 3);
    assert_eq!(witness.ask_pids(Command::MakeOrphans { count: 3 })?.len(), 3);
    assert_eq!(witness.ask_in_vain(Command::AllocateInChild { bytes: 4096 })?, Errno::ECHILD);
    assert_eq!(witness.abandon()?.code(), Some(85));
    Ok(())
}

#[test]
fn odd_command_names_are_read_whole() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let dir = open_dir()?;
    let odd = dir.path().join("x) Z 1 (y");
    // The name comes from the path that is executed, not from where it leads.
    std::os::unix::fs::symlink("/bin/sleep", &odd)?;
    let script = format!("'{}' 1000 & exec \"$@\"", odd.display());
    let launcher: Vec<&str> = AS_PID_1.into_iter().chain(["sh", "-c", &script, "sh"]).collect();
    let mut witness = Witness::start_by(&launcher)?;
    let mut found = json!(null);
    // The shell may still be on its way to the other program.
    eventually("the odd name", || {
        let listed = witness.ask(Command::Processes)?;
        found = listed
            .as_array()
            .context("no array")?
            .iter()
            .find(|process| process["ppid"] == 1)
            .cloned()
            .into();
        Ok(found["comm"] == "x) Z 1 (y")
    })?;
    assert_ne!(found["state"], "Z");
    assert_eq!(witness.ask(Command::CountZombies)?, 0);
    witness.abandon()?;
    Ok(())
}
