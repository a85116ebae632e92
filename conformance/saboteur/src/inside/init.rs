//! An init program: PID 1 in front of the container's program.

use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// What it passes on to the program.
const PASSED_ON: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTERM,
    Signal::SIGWINCH,
];

/// Starts the program and waits for it, passing signals on.
pub(super) fn run(program: &str, arguments: &[String]) -> Result<u8> {
    let mut program =
        Command::new(program).args(arguments).spawn().with_context(|| format!("start {program}"))?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    for signal in PASSED_ON {
        mask.add(signal);
    }
    mask.thread_block()?;
    let pid = Pid::from_raw(i32::try_from(program.id())?);
    loop {
        // Looked at before the first wait too: it may have ended before the signals were blocked.
        if let Some(status) = program.try_wait().context("wait for the program")? {
            return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
        }
        match mask.wait()? {
            Signal::SIGCHLD => {}
            signal => match kill(pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => bail!("pass {signal} on: {}", errno.desc()),
            },
        }
    }
}
