//! Broken sandbox programs, one mode each.

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

/// Runs as PID 1 of a sandbox, with the defect that the first argument names.
pub(crate) fn run(arguments: &[String]) -> Result<u8> {
    match arguments.first().map(String::as_str) {
        Some("deaf") => serve(&[Signal::SIGCHLD], reap_all),
        Some("never-reaps") => serve(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT], || {}),
        Some("one-per-signal") => serve(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT], reap_one),
        // The pod layer gives its sandbox program no arguments.
        None => serve(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP], reap_all),
        other => bail!("unknown mode {other:?} of a broken pause"),
    }
}

/// Waits for the listed signals only: the others have their default action, which PID 1 ignores.
fn serve(signals: &[Signal], on_child: fn()) -> Result<u8> {
    let mut mask = SigSet::empty();
    for signal in signals {
        mask.add(*signal);
    }
    mask.thread_block()?;
    loop {
        match mask.wait()? {
            Signal::SIGCHLD => on_child(),
            Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP => return Ok(0),
            _ => {}
        }
    }
}

/// What a good pause does at SIGCHLD.
fn reap_all() {
    while reap_next() {}
}

/// What it must not do: several ends may share one SIGCHLD.
fn reap_one() {
    reap_next();
}

/// Reaps a child that has ended; `false` when there is none.
fn reap_next() -> bool {
    !matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD))
}
