//! Staying with a program until it ends: its signals, its terminal, its exit code.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use super::terminal::Attached;
use super::{Context, StepError};
use crate::sys::{process, wait};

/// Signals that are about the runtime itself, not about the program.
const OWN: [Signal; 4] = [Signal::SIGCHLD, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

/// Takes all signals that are for the program. They wait until [`wait()`].
///
/// # Errors
/// The errno of signalfd(2).
pub fn take_signals() -> Result<SignalFd, Errno> {
    SignalFd::with_flags(&block_signals()?, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Lets the signals that are for the program wait.
pub(super) fn block_signals() -> Result<SigSet, Errno> {
    let mut set = SigSet::all();
    OWN.into_iter().for_each(|signal| set.remove(signal));
    set.thread_block()?;
    Ok(set)
}

/// Passes signals and the terminal on until the program has ended. Returns the exit code of `child`, which is the program or exits
/// with its code.
///
/// # Errors
/// What failed.
pub fn wait(
    program: BorrowedFd<'_>,
    child: Pid,
    signals: &SignalFd,
    mut terminal: Option<Attached>,
) -> Result<u8, StepError> {
    loop {
        let mut fds =
            vec![PollFd::new(program, PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(terminal.as_ref().into_iter().flat_map(Attached::poll_fds));
        match poll(&mut fds, PollTimeout::NONE) {
            // Stopped and continued.
            Err(Errno::EINTR) => continue,
            result => result.during(|| "wait for the program")?,
        };
        drop(fds);
        while let Some(info) = signals.read_signal().during(|| "read a signal")? {
            let signal = info.ssi_signo.cast_signed();
            match &mut terminal {
                Some(terminal) if signal == libc::SIGWINCH => terminal.resize(),
                _ => match process::pidfd_send_signal(program, signal) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(StepError::new("pass a signal on", errno)),
                },
            }
        }
        if let Some(terminal) = &mut terminal {
            terminal.copy().during(|| "copy the terminal")?;
        }
        if process::has_ended(program).during(|| "wait for the program")? {
            break;
        }
    }
    if let Some(terminal) = terminal {
        terminal.finish().during(|| "copy the rest of the terminal")?;
    }
    exit_code(child)
}

/// Waits for the end of a child. Returns its exit code, 128 + n when signal n ended it.
pub(super) fn exit_code(child: Pid) -> Result<u8, StepError> {
    let ended = wait::wait(child).during(|| "read the program's status")?;
    Ok(u8::try_from(ended.code()).unwrap_or(u8::MAX))
}
