//! Programs in front of a container's own, one mode each.

use std::process::{Child, Command, ExitStatus};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, pause};

use super::WRAPPER;

/// What an init program passes on to the program that it started.
const PASSED_ON: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTERM,
    Signal::SIGWINCH,
];

/// Runs in place of the container's program, with the defect that the first argument names.
pub(crate) fn run(arguments: &[String]) -> Result<u8> {
    match arguments {
        [mode, program, rest @ ..] if mode == "fork" => {
            let status =
                Command::new(program).args(rest).status().with_context(|| format!("run {program}"))?;
            Ok(code(status))
        }
        [mode, rest @ ..] if mode == "adopt" => adopt(rest),
        [mode, program, rest @ ..] if mode == "leave" => start(program, rest).map(|_left_behind| 0),
        [mode, program, rest @ ..] if mode == "init" => init(start(program, rest)?),
        _ => bail!("unknown mode of the wrapper: {arguments:?}"),
    }
}

fn start(program: &str, arguments: &[String]) -> Result<Child> {
    Command::new(program).args(arguments).spawn().with_context(|| format!("start {program}"))
}

/// 1 for a program that a signal ended: nobody looks at the exit code of a defect.
fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Starts the program through a process in between that ends, so that PID 1 becomes its parent.
fn adopt(program: &[String]) -> Result<u8> {
    let between = Command::new(format!("/{WRAPPER}")).arg("leave").args(program).status();
    if !between.context("start the process in between")?.success() {
        return Ok(1);
    }
    // The container lives as long as this process: until the runtime ends it.
    loop {
        pause();
    }
}

/// Waits for the program, passing signals on to it.
fn init(mut program: Child) -> Result<u8> {
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
            return Ok(code(status));
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
