//! The launcher: a small process per cell that starts every command of the cell.
//!
//! It exists so that a scope of the trace can begin at one thread group that does nothing else, and so that
//! a container's init, orphaned when the runtime's `create` returns, becomes a child of the cell (it is a
//! child subreaper, prctl(2)): its wait status is then the suite's own observation, not the runtime's claim.
//!
//! The suite and the launcher exchange one JSON packet per request and reply over a seqpacket socketpair.
//! When the suite goes away the launcher kills every descendant that it can still reach and ends.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

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
}

#[derive(Debug, Serialize, Deserialize)]
enum Request {
    Run { invocation: Invocation, timeout_ms: u64 },
    Spawn { invocation: Invocation },
    Wait { pid: i32, timeout_ms: u64 },
    KeepZombies { keep: bool },
    KillAll { timeout_ms: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Ran { pid: i32, status: Option<i32> },
    Spawned { pid: i32 },
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
    /// It still works on something that nobody waits for.
    is_behind: bool,
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
        Ok(Self { socket: ours, child, is_behind: false })
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

    /// Starts a command that goes on by itself; its process id.
    ///
    /// # Errors
    /// When the launcher is gone or the command cannot be executed.
    pub fn spawn(&mut self, invocation: Invocation) -> Result<i32, LauncherError> {
        match self.ask(&Request::Spawn { invocation }, Duration::ZERO)? {
            Reply::Spawned { pid } => Ok(pid),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits for a child of the launcher (a spawned command, or an orphan of a runtime) to end.
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

    fn ask(&mut self, request: &Request, timeout: Duration) -> Result<Reply, LauncherError> {
        let packet = serde_json::to_vec(request)
            .map_err(|error| LauncherError::Protocol { what: format!("cannot be asked: {error}") })?;
        send(self.socket.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL)
            .map_err(|source| LauncherError::Socket { op: "send", source })?;
        // The launcher keeps the deadline; this one only catches a launcher that hangs.
        let deadline = Instant::now() + timeout + Duration::from_secs(30);
        let is_cleaning = matches!(request, Request::KillAll { .. });
        if let Some(event) = interrupt::event().filter(|_| !is_cleaning) {
            let ready = wait_readable(&[self.socket.as_fd(), event], Some(deadline))
                .map_err(|source| LauncherError::Socket { op: "poll", source })?;
            if !ready.first().copied().unwrap_or(false) && interrupt::requested().is_some() {
                self.is_behind = true;
                return Err(LauncherError::Interrupted);
            }
        }
        // The answer to what was interrupted comes first.
        if std::mem::take(&mut self.is_behind) {
            receive(self.socket.as_fd(), Some(deadline))?;
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
fn wait_readable(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> Result<Vec<bool>, Errno> {
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

/// The launcher's own side: serves requests until the suite goes away. Returns the process exit code.
///
/// # Errors
/// When it was not started by the suite, or the kernel refuses what it needs.
pub fn serve() -> Result<(), LauncherError> {
    if std::env::var(SOCKET_ENV).as_deref() != Ok("0") {
        return Err(LauncherError::Protocol { what: "is started by podproof itself only".to_owned() });
    }
    let refuse = |op: &str| {
        let op = op.to_owned();
        move |errno: Errno| LauncherError::Refused { op, source: errno.into() }
    };
    let socket = move_stdin_away().map_err(refuse("duplicate the launcher's socket"))?;
    nix::sys::prctl::set_child_subreaper(true).map_err(refuse("prctl(PR_SET_CHILD_SUBREAPER)"))?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), Some(&mut before)).map_err(refuse("block SIGCHLD"))?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(refuse("signalfd"))?;
    let mut server = Server { socket, signals, ended: BTreeMap::new(), keeps_zombies: false };
    loop {
        let Some(packet) = server.next_packet()? else {
            server.kill_descendants(Duration::from_secs(10));
            return Ok(());
        };
        let reply = match serde_json::from_slice(&packet) {
            Ok(request) => server.answer(request),
            Err(error) => Reply::Failed { op: format!("understand a request: {error}"), errno: 22 },
        };
        let packet = serde_json::to_vec(&reply)
            .map_err(|error| LauncherError::Protocol { what: format!("cannot answer: {error}") })?;
        if send(server.socket.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL).is_err() {
            server.kill_descendants(Duration::from_secs(10));
            return Ok(());
        }
    }
}

/// The socket arrives as descriptor 0; commands get `/dev/null` there.
#[expect(unsafe_code, reason = "descriptor 0 has no owned handle in std")]
fn move_stdin_away() -> Result<OwnedFd, Errno> {
    // SAFETY: descriptor 0 is open, as the suite passed it, and nothing else in this process uses it.
    let stdin = unsafe { BorrowedFd::borrow_raw(0) };
    let raw: RawFd = nix::fcntl::fcntl(stdin, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    if let Ok(null) = File::open("/dev/null") {
        nix::unistd::dup2_stdin(null)?;
    }
    Ok(socket)
}

struct Server {
    socket: OwnedFd,
    signals: SignalFd,
    /// Wait statuses of children that ended, until somebody asks.
    ended: BTreeMap<i32, i32>,
    /// Only a process that is waited for is reaped.
    keeps_zombies: bool,
}

impl Server {
    /// The next request, reaping children meanwhile; `None` when the suite is gone.
    fn next_packet(&mut self) -> Result<Option<Vec<u8>>, LauncherError> {
        loop {
            self.reap(None);
            let ready = wait_readable(&[self.socket.as_fd(), self.signals.as_fd()], None)
                .map_err(|source| LauncherError::Socket { op: "poll", source })?;
            if ready.first().copied().unwrap_or(false) {
                return receive(self.socket.as_fd(), None);
            }
        }
    }

    fn answer(&mut self, request: Request) -> Reply {
        match request {
            Request::Run { invocation, timeout_ms } => match spawn(&invocation) {
                Ok(pid) => {
                    let status = self.wait_for(pid, Duration::from_millis(timeout_ms));
                    if status.is_none() {
                        signal_process(pid);
                        self.wait_for(pid, Duration::from_secs(10));
                    }
                    Reply::Ran { pid, status }
                }
                Err(error) => refused(&invocation, &error),
            },
            Request::Spawn { invocation } => match spawn(&invocation) {
                Ok(pid) => Reply::Spawned { pid },
                Err(error) => refused(&invocation, &error),
            },
            Request::Wait { pid, timeout_ms } => {
                Reply::Waited { status: self.wait_for(pid, Duration::from_millis(timeout_ms)) }
            }
            Request::KeepZombies { keep } => {
                self.keeps_zombies = keep;
                Reply::Set
            }
            Request::KillAll { timeout_ms } => {
                self.keeps_zombies = false;
                Reply::Killed { left: self.kill_descendants(Duration::from_millis(timeout_ms)) }
            }
        }
    }

    /// Collects every child that has ended; while zombies are kept, only the wanted one.
    fn reap(&mut self, wanted: Option<Pid>) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            let whom = match wanted {
                _ if !self.keeps_zombies => Id::All,
                Some(pid) => Id::Pid(pid),
                None => return,
            };
            // WNOWAIT first would race with nothing, but costs a call: the status is kept here instead.
            match waitid(whom, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
                Ok(WaitStatus::Exited(pid, code)) => {
                    self.ended.insert(pid.as_raw(), (code & 0xff) << 8);
                }
                Ok(WaitStatus::Signaled(pid, signal, core)) => {
                    self.ended.insert(pid.as_raw(), signal as i32 | if core { 0x80 } else { 0 });
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn wait_for(&mut self, pid: i32, timeout: Duration) -> Option<i32> {
        let deadline = Instant::now() + timeout;
        loop {
            self.reap(Some(Pid::from_raw(pid)));
            if let Some(status) = self.ended.remove(&pid) {
                return Some(status);
            }
            let ready = wait_readable(&[self.signals.as_fd()], Some(deadline)).ok()?;
            if !ready.first().copied().unwrap_or(false) {
                return None;
            }
        }
    }

    /// Kills all descendants until none is left or the time is over; who is left.
    fn kill_descendants(&mut self, timeout: Duration) -> Vec<i32> {
        let deadline = Instant::now() + timeout;
        loop {
            let living = descendants(std::process::id().cast_signed());
            for pid in &living {
                signal_process(*pid);
            }
            self.reap(None);
            if living.is_empty() || Instant::now() >= deadline {
                return living;
            }
            let round = Instant::now() + Duration::from_millis(50);
            if wait_readable(&[self.signals.as_fd()], Some(round.min(deadline))).is_err() {
                return living;
            }
        }
    }
}

fn refused(invocation: &Invocation, error: &io::Error) -> Reply {
    let program = invocation.argv.first().map_or("", String::as_str);
    Reply::Failed { op: format!("execute {program}"), errno: error.raw_os_error().unwrap_or(5) }
}

fn signal_process(pid: i32) {
    if let Err(errno) = kill(Pid::from_raw(pid), Signal::SIGKILL)
        && errno != Errno::ESRCH
    {
        tracing::warn!(pid, %errno, "kill a process of the cell");
    }
}

/// Living processes below `root`, found by their parents; zombies are left out (nothing can kill them).
fn descendants(root: i32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for process in procfs::process::all_processes().into_iter().flatten().flatten() {
        if let Ok(stat) = process.stat() {
            // A leader that ended while other threads live shows as Z, and must still be killed.
            if stat.state != 'Z' || stat.num_threads > 1 {
                children.entry(stat.ppid).or_default().push(stat.pid);
            }
        }
    }
    let mut found = Vec::new();
    let mut front = vec![root];
    while let Some(parent) = front.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            found.push(*child);
            front.push(*child);
        }
    }
    found
}

fn spawn(invocation: &Invocation) -> io::Result<i32> {
    let Some((program, arguments)) = invocation.argv.split_first() else {
        return Err(io::Error::from_raw_os_error(Errno::EINVAL as i32));
    };
    let create = |path: &Path| {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create(path)
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(&invocation.env)
        .env_remove(SOCKET_ENV)
        .stdin(Stdio::null())
        .stdout(create(&invocation.stdout)?)
        .stderr(create(&invocation.stderr)?);
    let leaked = leak_fds(invocation.leaked_fds)?;
    let _ambient = AmbientGuard::raise(&invocation.ambient_caps)?;
    // std empties the signal mask of the child, so the blocked SIGCHLD stays here.
    let child = command.spawn()?;
    drop(leaked);
    Ok(child.id().cast_signed())
}

/// Descriptors above 2 without close-on-exec.
fn leak_fds(count: u32) -> io::Result<Vec<OwnedFd>> {
    (0..count)
        .map(|_| {
            let flags = nix::fcntl::OFlag::O_RDONLY;
            nix::fcntl::open("/dev/null", flags, nix::sys::stat::Mode::empty()).map_err(io::Error::from)
        })
        .collect()
}

/// Ambient and inheritable capabilities of the launcher, taken back on drop.
struct AmbientGuard {
    raised: Vec<caps::Capability>,
}

impl AmbientGuard {
    fn raise(numbers: &[u8]) -> io::Result<Self> {
        let mut guard = Self { raised: Vec::new() };
        for number in numbers {
            let capability = caps::all()
                .into_iter()
                .find(|capability| capability.index() == *number)
                .ok_or_else(|| io::Error::from_raw_os_error(Errno::EINVAL as i32))?;
            for set in [caps::CapSet::Inheritable, caps::CapSet::Ambient] {
                caps::raise(None, set, capability)
                    .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
            }
            guard.raised.push(capability);
        }
        Ok(guard)
    }
}

impl Drop for AmbientGuard {
    fn drop(&mut self) {
        for capability in &self.raised {
            for set in [caps::CapSet::Ambient, caps::CapSet::Inheritable] {
                if let Err(error) = caps::drop(None, set, *capability) {
                    tracing::warn!(%error, ?capability, "drop a capability of the launcher");
                }
            }
        }
    }
}
