//! The launcher: a small process per cell that starts every command of the cell.
//!
//! It exists so that a scope of the trace can begin at one thread group that does nothing else, and so that
//! a container's init, orphaned when the runtime's `create` returns, becomes a child of the cell (it is a
//! child subreaper, prctl(2)): its wait status is then the suite's own observation, not the runtime's claim.
//!
//! The suite and the launcher exchange one JSON packet per request and reply over a seqpacket socketpair.
//! When the suite goes away the launcher kills every descendant that it can still reach and ends.

mod pump;
mod serve;
mod start;

pub(crate) use serve::descendants;
pub use serve::serve;
pub(crate) use start::unblock_all;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use serde::{Deserialize, Serialize};

use crate::duration::millis;
use crate::interrupt;

/// Environment variable that hands the launcher its socket.
const SOCKET_ENV: &str = "PODPROOF_LAUNCHER_FD";
/// Largest packet, bytes.
const MAX_PACKET: usize = 64 * 1024;

/// One command to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Invocation {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables on top of the inherited ones.
    pub env: BTreeMap<String, String>,
    /// Receives standard output.
    pub stdout: PathBuf,
    /// Receives standard error.
    pub stderr: PathBuf,
    /// Descriptors without close-on-exec that the command inherits beyond 0, 1 and 2.
    pub leaked_fds: u32,
    /// Capabilities that the command inherits as ambient ones (numbers of capabilities(7)).
    pub ambient_caps: Vec<u8>,
    /// Signals that the command is started with as ignored ones.
    pub ignored_signals: Vec<i32>,
    /// Directory of the cgroup that it runs in; by default the launcher's own.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Request {
    Run { invocation: Invocation, timeout_ms: u64 },
    RunAll { invocations: Vec<Invocation>, timeout_ms: u64 },
    Wait { pid: i32, timeout_ms: u64 },
    KeepZombies { keep: bool },
    KillAll { timeout_ms: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Ran { pid: i32, status: Option<i32> },
    RanAll { ended: Vec<(i32, Option<i32>)> },
    Waited { status: Option<i32> },
    Set,
    Killed { left: Vec<i32> },
    Failed { op: String, errno: i32 },
}

/// What went wrong between the suite and its launcher.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// The launcher could not be started.
    #[error("start the cell's launcher ({program})")]
    Start {
        /// The program that was to become the launcher.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket to the launcher failed.
    #[error("{op} on the launcher's socket")]
    Socket {
        /// `send`, `recv` or `poll`.
        op: &'static str,
        /// Why.
        source: Errno,
    },
    /// The launcher ended or answered with something else.
    #[error("the cell's launcher {what}")]
    Protocol {
        /// What it did.
        what: String,
    },
    /// The user interrupted the run.
    #[error("interrupted")]
    Interrupted,
    /// The launcher could not do what was asked.
    #[error("{op}")]
    Refused {
        /// Operation and object.
        op: String,
        /// Why.
        source: io::Error,
    },
}

/// A command that ended, or did not.
#[derive(Debug, Clone, Copy)]
pub struct Ran {
    /// Its process id.
    pub pid: i32,
    /// How it ended; `None` when it was killed at the deadline.
    pub status: Option<ExitStatus>,
}

/// The suite's end of a launcher.
#[derive(Debug)]
pub struct Launcher {
    socket: OwnedFd,
    child: Child,
    /// Answers that nobody waits for any more.
    behind: usize,
    /// The cell closes: an interruption no longer counts.
    is_closing: bool,
}

impl Launcher {
    /// Starts a launcher: this program again, with the hidden subcommand `launcher`.
    ///
    /// # Errors
    /// When the socket pair or the process cannot be made.
    pub fn start() -> Result<Self, LauncherError> {
        let program = PathBuf::from("/proc/self/exe");
        let start = |source: io::Error| LauncherError::Start { program: program.clone(), source };
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|errno| start(errno.into()))?;
        // Inherited as standard input: the one descriptor that Command hands over without unsafe code.
        let child = Command::new(&program)
            .arg0("podproof-launcher")
            .arg("launcher")
            .env(SOCKET_ENV, "0")
            // A Ctrl-C at the terminal is the suite's to handle, not the cell's.
            .process_group(0)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(start)?;
        Ok(Self { socket: ours, child, behind: 0, is_closing: false })
    }

    /// Thread group id of the launcher.
    #[must_use]
    pub fn tgid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a command to its end, or kills it at the deadline.
    ///
    /// # Errors
    /// When the launcher is gone or the command cannot be executed.
    pub fn run(&mut self, invocation: Invocation, timeout: Duration) -> Result<Ran, LauncherError> {
        let request = Request::Run { invocation, timeout_ms: millis(timeout) };
        match self.ask(&request, timeout)? {
            Reply::Ran { pid, status } => Ok(Ran { pid, status: status.map(ExitStatus::from_raw) }),
            other => Err(unexpected(&other)),
        }
    }

    /// Starts these commands one right after the other and waits for all of them; those that have not ended at the deadline
    /// are killed. In the order given.
    ///
    /// # Errors
    /// When the launcher is gone or a command cannot be executed.
    pub fn run_all(
        &mut self,
        invocations: Vec<Invocation>,
        timeout: Duration,
    ) -> Result<Vec<Ran>, LauncherError> {
        let request = Request::RunAll { invocations, timeout_ms: millis(timeout) };
        match self.ask(&request, timeout)? {
            Reply::RanAll { ended } => {
                let ran =
                    |(pid, status): (i32, Option<i32>)| Ran { pid, status: status.map(ExitStatus::from_raw) };
                Ok(ended.into_iter().map(ran).collect())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Waits for a child of the launcher (an orphan of a runtime) to end.
    /// `None` when it has not by the deadline.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub fn wait(&mut self, pid: i32, timeout: Duration) -> Result<Option<ExitStatus>, LauncherError> {
        match self.ask(&Request::Wait { pid, timeout_ms: millis(timeout) }, timeout)? {
            Reply::Waited { status } => Ok(status.map(ExitStatus::from_raw)),
            other => Err(unexpected(&other)),
        }
    }

    /// Leaves dead orphans unreaped, or reaps them again as they come. Commands that it runs are reaped always.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub fn keep_zombies(&mut self, keep: bool) -> Result<(), LauncherError> {
        match self.ask(&Request::KeepZombies { keep }, Duration::ZERO)? {
            Reply::Set => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Kills every descendant of the launcher and reaps what it can; the pids that are still there.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub fn kill_all(&mut self, timeout: Duration) -> Result<Vec<i32>, LauncherError> {
        match self.ask(&Request::KillAll { timeout_ms: millis(timeout) }, timeout)? {
            Reply::Killed { left } => Ok(left),
            other => Err(unexpected(&other)),
        }
    }

    /// From here on requests are waited for even after an interruption: they clean up after it.
    pub fn begin_closing(&mut self) {
        self.is_closing = true;
    }

    fn ask(&mut self, request: &Request, timeout: Duration) -> Result<Reply, LauncherError> {
        let packet = serde_json::to_vec(request)
            .map_err(|error| LauncherError::Protocol { what: format!("cannot be asked: {error}") })?;
        send(self.socket.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL)
            .map_err(|source| LauncherError::Socket { op: "send", source })?;
        // The launcher keeps the deadline; this one only catches a launcher that hangs.
        let deadline = Instant::now() + timeout + Duration::from_secs(30);
        if let Some(event) = interrupt::event().filter(|_| !self.is_closing) {
            let ready = wait_readable(&[self.socket.as_fd(), event], Some(deadline))
                .map_err(|source| LauncherError::Socket { op: "poll", source })?;
            if !ready.first().copied().unwrap_or(false) && interrupt::requested().is_some() {
                self.behind += 1;
                return Err(LauncherError::Interrupted);
            }
        }
        // The answers to what was interrupted come first.
        while self.behind > 0 {
            receive(self.socket.as_fd(), Some(deadline))?;
            self.behind -= 1;
        }
        let reply = receive(self.socket.as_fd(), Some(deadline))?
            .ok_or_else(|| LauncherError::Protocol { what: "did not answer, or ended".to_owned() })?;
        match serde_json::from_slice(&reply) {
            Ok(Reply::Failed { op, errno }) => {
                Err(LauncherError::Refused { op, source: io::Error::from_raw_os_error(errno) })
            }
            Ok(reply) => Ok(reply),
            Err(error) => Err(LauncherError::Protocol { what: format!("answered nonsense: {error}") }),
        }
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        if let Err(errno) =
            nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Both)
        {
            tracing::debug!(%errno, "shut down the launcher's socket");
        }
        if let Err(error) = self.child.wait() {
            tracing::warn!(%error, "wait for the cell's launcher");
        }
    }
}

fn unexpected(reply: &Reply) -> LauncherError {
    LauncherError::Protocol { what: format!("answered out of turn: {reply:?}") }
}

/// One packet; `None` at the deadline or when the other side is gone.
fn receive(socket: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<Option<Vec<u8>>, LauncherError> {
    if !wait_readable(&[socket], deadline)
        .map_err(|source| LauncherError::Socket { op: "poll", source })?
        .first()
        .copied()
        .unwrap_or(false)
    {
        return Ok(None);
    }
    let mut buffer = vec![0; MAX_PACKET];
    match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        Ok(0) | Err(Errno::ECONNRESET) => Ok(None),
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(source) => Err(LauncherError::Socket { op: "recv", source }),
    }
}

/// Waits until one of the descriptors can be read (or is hung up); all `false` at the deadline.
pub(crate) fn wait_readable(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> Result<Vec<bool>, Errno> {
    loop {
        let timeout = match deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                PollTimeout::try_from(left.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut polled, timeout) {
            Ok(0) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            Ok(_) => {
                return Ok(polled.iter().map(|fd| fd.any().unwrap_or(false)).collect());
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
