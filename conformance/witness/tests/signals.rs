//! Signals sent, caught and ignored.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command as Program, Stdio};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use podproof_witness::Command;
use serde_json::json;
use support::{AS_PID_1, Witness, eventually, has_ended, is_root, mask_of, status_of};

/// Everything but SIGKILL and SIGSTOP.
const CATCHABLE: u64 = !(1 << 8 | 1 << 18);

/// A shell's kill sends what nix has no name for. Returns the shell's pid.
fn send(signals: &[i32], pid: i32) -> Result<u32> {
    let list = signals.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let script = format!("for s in {list}; do kill -$s {pid} || exit 1; done");
    let mut shell = Program::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn()?;
    let id = shell.id();
    ensure!(shell.wait()?.success(), "{script}");
    Ok(id)
}

fn catch_each(witness: &mut Witness) -> Result<()> {
    let pid = witness.outer_pid()?;
    let caught: Vec<i32> = serde_json::from_value(witness.ask(Command::CatchAllSignals)?)?;
    let expected: Vec<i32> = (1..=64).filter(|signal| ![9, 19].contains(signal)).collect();
    assert_eq!(caught, expected);
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    assert_eq!(mask_of(&status, "SigCgt")?, CATCHABLE);

    // SIGCONT and the stopping signals take each other back as long as they are pending (signal(7)).
    let (cont, others): (Vec<i32>, Vec<i32>) = expected.iter().partition(|signal| **signal == 18);
    let mut signals = BTreeSet::new();
    for group in [others, cont] {
        let sender = send(&group, pid)?;
        let at_least = u32::try_from(group.len())?;
        let records = witness.ask(Command::CaughtSignals { at_least, timeout_ms: 20_000 })?;
        for record in records.as_array().context("no array")? {
            assert_eq!(record["sender"], sender);
            assert!(signals.insert(record["signal"].to_string()), "{record} twice");
        }
    }
    assert_eq!(signals, expected.iter().map(i32::to_string).collect());
    assert_eq!(witness.ask(Command::CaughtSignals { at_least: 1, timeout_ms: 10 })?, json!([]));
    Ok(())
}

#[test]
fn every_signal_is_caught_once() -> Result<()> {
    let mut witness = Witness::start()?;
    catch_each(&mut witness)?;
    assert_eq!(witness.abandon()?.code(), Some(85));
    Ok(())
}

#[test]
fn every_signal_is_caught_by_a_worker_too() -> Result<()> {
    let mut witness = Witness::start()?;
    assert_eq!(witness.ask(Command::EndMainThread)?, "Z");
    catch_each(&mut witness)?;
    assert_eq!(witness.abandon()?.code(), Some(85));
    Ok(())
}

#[test]
fn repeated_realtime_signals_are_all_recorded() -> Result<()> {
    let mut witness = Witness::start()?;
    witness.ask(Command::CatchAllSignals)?;
    send(&[40; 100], witness.outer_pid()?)?;
    let records = witness.ask(Command::CaughtSignals { at_least: 100, timeout_ms: 20_000 })?;
    assert_eq!(records.as_array().map(Vec::len), Some(100));
    witness.abandon()?;
    Ok(())
}

#[test]
fn waiting_ends_with_the_signal() -> Result<()> {
    let mut witness = Witness::start()?;
    witness.ask(Command::CatchAllSignals)?;
    witness.tell(Command::CaughtSignals { at_least: 1, timeout_ms: 600_000 })?;
    send(&[15], witness.outer_pid()?)?;
    let podproof_witness::Outcome::Done(records) = witness.reply()?.outcome else {
        anyhow::bail!("it failed")
    };
    assert_eq!(records[0]["signal"], 15);
    witness.abandon()?;
    Ok(())
}

#[test]
fn children_have_default_dispositions() -> Result<()> {
    let mut witness = Witness::start()?;
    witness.ask(Command::CatchAllSignals)?;
    let sleeper = witness.ask_pids(Command::ForkSleepers { count: 1, sessions: false })?[0];
    assert_eq!(status_of(sleeper, "SigCgt").as_deref(), Some("0000000000000000"));
    assert_eq!(witness.ask(Command::SignalFromChild { pid: sleeper, signal: 15 })?, 0);
    eventually("the end of the sleeper", || Ok(has_ended(sleeper)))?;
    witness.abandon()?;
    Ok(())
}

#[test]
fn sending_tells_the_error_of_the_kernel() -> Result<()> {
    let mut witness = Witness::start()?;
    // Above the highest pid that Linux gives.
    assert_eq!(witness.ask(Command::SignalFromChild { pid: 1 << 23, signal: 15 })?, Errno::ESRCH as i32);
    for (pid, signal) in [(0, 15), (-1, 15), (1 << 23, 0), (1 << 23, 65)] {
        assert_eq!(witness.ask_in_vain(Command::SignalFromChild { pid, signal })?, Errno::EINVAL);
    }
    witness.abandon()?;
    Ok(())
}

#[test]
fn pid_1_ignores_what_its_own_children_send() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut witness = Witness::start_by(&AS_PID_1)?;
    for signal in [15, 9, 19] {
        assert_eq!(witness.ask(Command::SignalFromChild { pid: 1, signal })?, 0);
    }
    assert!(witness.ask(Command::Ping)?.is_u64());
    witness.ask(Command::CatchAllSignals)?;
    witness.ask(Command::SignalFromChild { pid: 1, signal: 10 })?;
    let records = witness.ask(Command::CaughtSignals { at_least: 1, timeout_ms: 10_000 })?;
    assert_eq!(records[0]["signal"], 10);
    assert!(records[0]["sender"].as_i64() > Some(1));
    witness.abandon()?;
    Ok(())
}
