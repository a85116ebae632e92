//! The start barrier: init waits here between `create` and `start`.
//!
//! | | `podrt start` | init |
//! |---|---|---|
//! | 1 | connects to the socket in the state directory | accepts |
//! | 2 | sends one byte | takes the steps that are left, and executes the program |
//! | 3 | reads the end of the stream: the exec closed it; or a failure | sends what failed, of the steps or the exec, and exits |
//! | 4 | waits for the lock on the barrier file | released by the exec, or by the exit |
//!
//! There is one init and it executes once, so of two starts at most one gets through. A start that is killed before
//! step 2 leaves init waiting for the next. Who creates and starts in one takes steps 1 and 2 before init is born.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{MsgFlags, send};

use super::StepError;
use super::seccomp::{self, Agent, Loader, Silent};
use crate::state::{ContainerDir, State, store};

/// The path of the socket through the open directory: a socket address has room for 107 bytes only.
fn address(directory: &ContainerDir) -> String {
    format!("/proc/self/fd/{}/{}", directory.as_fd().as_raw_fd(), store::SOCKET)
}

/// Makes the socket.
///
/// # Errors
/// What bind(2) gives.
pub(super) fn listen(directory: &ContainerDir) -> io::Result<UnixListener> {
    UnixListener::bind(address(directory))
}

/// What is executed.
#[derive(Debug)]
pub(super) struct Program<'a> {
    pub(super) path: &'a CString,
    pub(super) args: &'a [CString],
    pub(super) env: &'a [CString],
}

/// A step before the exec that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// As the plan names it.
    pub(super) step: String,
    /// Why.
    pub(super) error: StepError,
}

/// The step that is not only init's, for messages.
const LOAD: &str = "load linux.seccomp";

/// First byte of an answer.
const EXEC_FAILED: u8 = b'x';
const STEP_FAILED: u8 = b's';
/// Not an answer: the filter is loaded next, and its listener is to be told.
const ABOUT_TO_LOAD: u8 = b'l';

/// Init's side: waits for a start, does `before` and executes the program. Returns the exit code when there was no exec.
///
/// A signal that would end a program without handlers ends the wait. It has to be taken in user space: the kernel
/// drops it for PID 1 of a namespace (pid_namespaces(7)).
pub(super) fn wait_and_exec(
    listener: &UnixListener,
    barrier: &File,
    signals: &SignalFd,
    program: &Program<'_>,
    before: impl Fn(&dyn Fn()) -> Result<Option<Loader>, Failure>,
) -> i32 {
    loop {
        let mut fds = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            // Stopped and continued.
            Err(Errno::EINTR) => continue,
            Err(_) => return 1,
        }
        if let Ok(Some(info)) = signals.read_signal() {
            return 128 + i32::try_from(info.ssi_signo).unwrap_or_default();
        }
        let Ok((mut stream, _)) = listener.accept() else { continue };
        let mut byte = [0];
        // The end of the stream is a start that was killed: the next may come.
        if !matches!(stream.read(&mut byte), Ok(1)) {
            continue;
        }
        // Above the barrier, whose descriptor the exec closes first.
        let above = barrier.as_raw_fd() + 1;
        let Err(errno) = fcntl(stream.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(above)).and_then(|moved| {
            drop(stream);
            let answer = |kind: u8, errno: Errno, texts: [&[u8]; 2]| {
                let errno_bytes = (errno as i32).to_ne_bytes();
                let answer = [&[kind], errno_bytes.as_slice(), texts[0], &[0], texts[1]].concat();
                // When start has gone, nobody is left to tell.
                let _lost = send(moved, &answer, MsgFlags::MSG_NOSIGNAL);
                Err::<Infallible, Errno>(errno)
            };
            let about_to_load = || {
                let _lost = send(moved, &[ABOUT_TO_LOAD], MsgFlags::MSG_NOSIGNAL);
            };
            let loader = match before(&about_to_load) {
                Ok(loader) => loader,
                Err(Failure { step, error }) => {
                    return answer(STEP_FAILED, error.errno, [step.as_bytes(), error.detail.as_bytes()]);
                }
            };
            if loader.is_none() {
                SigSet::all().thread_unblock()?;
            }
            let Err(errno) = execve(program.path, program.args, program.env);
            if let Some(loader) = &loader {
                // The filter may be against an answer.
                loader.tell_failure(Silent::Exec(errno));
            }
            answer(EXEC_FAILED, errno, [program.path.as_bytes(), b""])
        });
        // As a shell does.
        return if errno == Errno::ENOENT { 127 } else { 126 };
    }
}

/// Signals whose default action is not to end the process (signal(7)).
const HARMLESS: [Signal; 8] = [
    Signal::SIGCHLD,
    Signal::SIGCONT,
    Signal::SIGSTOP,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGURG,
    Signal::SIGWINCH,
];

/// Takes these signals from the process and gives them to a descriptor.
///
/// # Errors
/// The errno of signalfd(2).
pub(super) fn take_fatal_signals() -> Result<SignalFd, Errno> {
    let mut fatal = SigSet::all();
    HARMLESS.into_iter().for_each(|signal| fatal.remove(signal));
    fatal.thread_block()?;
    SignalFd::with_flags(&fatal, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn execve(program: &CString, args: &[CString], env: &[CString]) -> Result<Infallible, Errno> {
    nix::unistd::execve(program, args, env)
}

/// How a start went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Released {
    /// The program runs, or ran.
    Executed,
    /// It could not be executed.
    Failed {
        /// Path, as found.
        program: String,
        /// Why.
        errno: Errno,
    },
    /// A step before it failed, as the plan names it.
    StepFailed {
        /// Step.
        step: String,
        /// What exactly.
        detail: String,
        /// Why.
        errno: Errno,
    },
    /// Init still waits: what a step before it needs is not there.
    NotTried {
        /// What exactly.
        detail: String,
        /// Why.
        errno: Errno,
    },
    /// Nobody waits.
    NobodyWaits,
    /// Init has not answered within its limit.
    NoAnswer {
        /// That of [`ask`].
        limit: Duration,
    },
}

/// Asks init to go on, now or as soon as it waits. `None` where nobody will. `within` is how long its answers may take.
///
/// # Errors
/// What the socket gives.
pub(super) fn ask(directory: &ContainerDir, within: Option<Duration>) -> io::Result<Option<UnixStream>> {
    let mut stream = match UnixStream::connect(address(directory)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            return Ok(None);
        }
        result => result?,
    };
    stream.set_read_timeout(within)?;
    stream.write_all(&[1])?;
    Ok(Some(stream))
}

/// The side of `start`.
///
/// # Errors
/// What the socket or the lock gives.
pub(super) fn release(directory: &ContainerDir, state: &State, barrier: &Path) -> io::Result<Released> {
    let agent = match state.seccomp_listener.as_ref().map(Agent::connect).transpose() {
        Ok(agent) => agent,
        Err(StepError { detail, errno }) => return Ok(Released::NotTried { detail, errno }),
    };
    let Some(mut stream) = ask(directory, None)? else { return Ok(Released::NobodyWaits) };
    let mut answer = Vec::new();
    if let Some(agent) = agent {
        let mut first = [0];
        match stream.read(&mut first) {
            Ok(1) if first == [ABOUT_TO_LOAD] => {
                if let Err(StepError { detail, errno }) = agent.tell(state, barrier, &stream) {
                    return Ok(Released::StepFailed { step: LOAD.to_owned(), detail, errno });
                }
            }
            Ok(n) => answer.extend(&first[..n]),
            // The next read says it again.
            Err(_) => {}
        }
    }
    wait_answer(stream, answer, barrier)
}

/// Waits until init has executed the program, or tells why not; what it has said is completed.
///
/// # Errors
/// What the socket or the lock gives.
pub(super) fn wait_answer(
    mut stream: UnixStream,
    mut answer: Vec<u8>,
    barrier: &Path,
) -> io::Result<Released> {
    match stream.read_to_end(&mut answer) {
        // Init was killed with the byte unread.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Released::NobodyWaits),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Ok(Released::NoAnswer { limit: stream.read_timeout()?.unwrap_or_default() });
        }
        result => result?,
    };
    if let Some(released) = read_answer(&answer) {
        return Ok(released);
    }
    // The kernel closes descriptors on their way out of the exec, in an order of its own; with the lock the
    // status is running for everybody.
    File::open(barrier)?.lock_shared()?;
    Ok(match seccomp::failure(barrier)? {
        None => Released::Executed,
        Some(Silent::Exec(errno)) => Released::Failed { program: "process.args[0]".to_owned(), errno },
        Some(Silent::Capabilities(errno)) => Released::StepFailed {
            step: LOAD.to_owned(),
            detail: "set the capability sets (the filter must allow capset, or set process.noNewPrivileges)"
                .to_owned(),
            errno,
        },
    })
}

fn read_answer(answer: &[u8]) -> Option<Released> {
    let (kind, rest) = answer.split_first()?;
    let (errno, texts) = rest.split_first_chunk()?;
    let errno = Errno::from_raw(i32::from_ne_bytes(*errno));
    let mut texts = texts.splitn(2, |byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
    let first = texts.next()?;
    Some(match *kind {
        EXEC_FAILED => Released::Failed { program: first, errno },
        _ => Released::StepFailed { step: first, detail: texts.next().unwrap_or_default(), errno },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_not_answer_is_given_up() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let limit = Duration::from_millis(20);
        ours.set_read_timeout(Some(limit)).unwrap();
        let released = wait_answer(ours, Vec::new(), Path::new("/nowhere")).unwrap();
        assert_eq!(released, Released::NoAnswer { limit });
    }
}
