//! The parent of a program that a command executes and stays with, in the place of the command.
//!
//! A process that has ended is a zombie until its parent takes its status, and a pid namespace ends after the last process of it
//! (pid_namespaces(7)): were the command the parent, stopping it (SIGSTOP, ^Z) would hold up the end of the whole container.
//!
//! | | command | keeper |
//! |---|---|---|
//! | 1 | clones the keeper | takes all steps of the exec but the last; ends with the command, and the exec with it |
//! | 2 | lets signals wait for the program; sends `Go` | sends `Ready`, or `Failed`, and waits |
//! | 3 | | the program is executed; sends `Cloned` and the program's pidfd, or `Failed` |
//! | 4 | takes the pidfd | goes into a session of its own, and waits for the end of the program |
//! | 5 | follows the program; then its exit code is that of the keeper | exits with the code of the program |

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getpid, getppid, setsid};

use super::exec::{ExecRequest, exec};
use super::protocol::{Channel, Message};
use super::{Context, LaunchError, StepError, console, foreground};
use crate::sys::clone::{CloneRequest, Cloned, SingleThreaded, clone3};
use crate::sys::{fd, process};

/// Exit code of a keeper that failed; the message says how.
const FAILED: i32 = 255;

/// A program that runs, and its keeper.
#[derive(Debug)]
pub struct Kept {
    /// The program's process.
    pub pidfd: OwnedFd,
    /// The keeper's, a child of the caller, which exits with the program's exit code, 128 + n when signal n ended that.
    pub keeper: Pid,
}

/// Executes a process in a container by a keeper: afterwards it runs, and signals to the caller wait for [`foreground::wait`].
///
/// # Errors
/// The failed step; the new process is gone or ends by itself, unless it is a program that has begun already and its keeper could
/// not hand over: that runs on, as after the end of the command.
pub fn exec_kept(request: &ExecRequest<'_>) -> Result<Kept, LaunchError> {
    let token = SingleThreaded::check().map_err(LaunchError::Threads)?;
    let (ours, theirs) =
        Channel::pair().map_err(|errno| LaunchError::step("make a channel to the keeper", errno))?;
    let command = getpid();
    let clone = CloneRequest::default();
    let keeper = clone3(token, &clone, || keep(request, command, &theirs))
        .map_err(|errno| LaunchError::step("clone the keeper of the program", errno))?;
    drop(theirs);
    match follow(&ours) {
        Ok(pidfd) => Ok(Kept { pidfd, keeper: keeper.pid }),
        Err(error) => {
            // It may wait for an answer, and has a copy of this end: it would never read the end of the channel.
            let _ended = process::pidfd_send_signal(keeper.pidfd.as_fd(), libc::SIGKILL);
            let _code = foreground::exit_code(keeper.pid);
            Err(error)
        }
    }
}

/// The command's side, up to the program's begin.
fn follow(keeper: &Channel) -> Result<OwnedFd, LaunchError> {
    let ended = || LaunchError::InitEnded { how: "its keeper ended".to_owned() };
    let answer = || match keeper.recv() {
        Ok(Some(Message::Failed { detail, .. })) => Err(LaunchError::Kept(detail)),
        Ok(Some(message)) => Ok(message),
        _ => Err(ended()),
    };
    let Message::Ready = answer()? else { return Err(ended()) };
    foreground::block_signals().map_err(|errno| LaunchError::step("block signals", errno))?;
    keeper.send(&Message::Go).map_err(|_gone| ended())?;
    let Message::Cloned(_) = answer()? else { return Err(ended()) };
    console::receive(keeper.as_fd())
        .map_err(|errno| LaunchError::step("take the program from its keeper", errno))
}

/// The keeper. Returns its exit code.
fn keep(request: &ExecRequest<'_>, command: Pid, channel: &Channel) -> i32 {
    let kept = begin(command)
        .map_err(|error| LaunchError::step("begin the keeper", error))
        .and_then(|()| exec(&ExecRequest { command: Some(channel), ..*request }));
    match kept {
        Ok(program) => stay(&program, channel),
        Err(error) => {
            let detail = format!("{:#}", anyhow::Error::from(error));
            let _lost = channel.send(&Message::Failed { step: 0, errno: Errno::UnknownErrno, detail });
            FAILED
        }
    }
}

/// Until the program begins the command may be killed, and then there is to be none.
fn begin(command: Pid) -> Result<(), StepError> {
    prctl::set_pdeathsig(Signal::SIGKILL).during(|| "PR_SET_PDEATHSIG")?;
    if getppid() == command { Ok(()) } else { Err(StepError::new("the command has ended", Errno::ESRCH)) }
}

/// Everything is prepared: has the command take the signals for the program. The new process may end meanwhile, with its container.
pub(super) fn ask(channel: &Channel, process: BorrowedFd<'_>) -> Result<(), StepError> {
    channel.send(&Message::Ready).during(|| "tell the command")?;
    let mut fds = [channel.as_fd(), process].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    poll(&mut fds, PollTimeout::NONE).during(|| "wait for the command")?;
    if process::has_ended(process)? {
        return Err(StepError::new("the container has stopped", Errno::ESRCH));
    }
    match channel.recv().during(|| "wait for the command")? {
        Some(Message::Go) => Ok(prctl::set_pdeathsig(None)?),
        _ => Err(StepError::new("the command has ended", Errno::EPIPE)),
    }
}

/// Waits for the end of the program, with nothing that is the caller's.
fn stay(program: &Cloned, channel: &Channel) -> i32 {
    // A command that was killed since leaves its program to run; one that was stopped is not waited for.
    let _lost = channel
        .send(&Message::Cloned(program.pid.as_raw()))
        .and_then(|()| console::send(channel.as_fd(), program.pidfd.as_fd()));
    let _named = prctl::set_name(c"podrt-keeper");
    // What is kept open longer than needed harms nobody but who waits for its end.
    let _left = leave();
    foreground::exit_code(program.pid).map_or(FAILED, i32::from)
}

/// Neither the terminal's signals nor the end of its session reach the keeper, and it keeps no file of anybody open.
fn leave() -> Result<(), Errno> {
    setsid()?;
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(null.as_fd())?;
    dup2_stdout(null.as_fd())?;
    dup2_stderr(null.as_fd())?;
    fd::close_all_except(3, &[])
}
