//! The start barrier: init waits here between `create` and `start`.
//!
//! | | `podrt start` | init |
//! |---|---|---|
//! | 1 | connects to the socket in the state directory | accepts |
//! | 2 | sends one byte | executes the program |
//! | 3 | reads the end of the stream: the exec closed it; or an errno | sends the errno and the path of a failed exec, and exits |
//! | 4 | waits for the lock on the barrier file | released by the exec, or by the exit |
//!
//! There is one init and it executes once, so of two starts at most one gets through. A start that is killed before
//! step 2 leaves init waiting for the next.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{MsgFlags, send};

use crate::state::{ContainerDir, store};

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

/// Init's side: waits for a start, then executes the program. Returns the exit code when there was no exec.
///
/// A signal that would end a program without handlers ends the wait. It has to be taken in user space: the kernel
/// drops it for PID 1 of a namespace (pid_namespaces(7)).
pub(super) fn wait_and_exec(
    listener: &UnixListener,
    barrier: &File,
    program: &CString,
    args: &[CString],
    env: &[CString],
    signals: &SignalFd,
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
            SigSet::all().thread_unblock()?;
            let Err(errno) = execve(program, args, env);
            let answer = [&(errno as i32).to_ne_bytes(), program.as_bytes()].concat();
            // When start has gone, nobody is left to tell.
            let _lost = send(moved.as_raw_fd(), &answer, MsgFlags::MSG_NOSIGNAL);
            Err::<Infallible, Errno>(errno)
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
    /// Nobody waits.
    NobodyWaits,
}

/// The side of `start`.
///
/// # Errors
/// What the socket or the lock gives.
pub(super) fn release(directory: &ContainerDir, barrier: &Path) -> io::Result<Released> {
    let mut stream = match UnixStream::connect(address(directory)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            return Ok(Released::NobodyWaits);
        }
        result => result?,
    };
    stream.write_all(&[1])?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Init was killed with the byte unread.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Released::NobodyWaits),
        result => result?,
    };
    if let Some((errno, program)) = answer.split_first_chunk() {
        let program = String::from_utf8_lossy(program).into_owned();
        return Ok(Released::Failed { program, errno: Errno::from_raw(i32::from_ne_bytes(*errno)) });
    }
    // The kernel closes descriptors on their way out of the exec, in an order of its own; with the lock the
    // status is running for everybody.
    File::open(barrier)?.lock_shared()?;
    Ok(Released::Executed)
}
