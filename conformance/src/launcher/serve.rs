//! The launcher's own side: a single thread that starts commands, keeps their wait statuses, and kills what is left.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::Pid;

use super::pump::Pump;
use super::start::start;
use super::{Invocation, LauncherError, Reply, Request, SOCKET_ENV, receive, wait_readable};
use crate::children::take_ended;

/// Serves requests until the suite goes away. Returns the process exit code.
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
    let mut server =
        Server { socket, signals, pumps: Vec::new(), ended: BTreeMap::new(), keeps_zombies: false };
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
    /// Output that somebody may still write.
    pumps: Vec<Pump>,
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
            if self.wait(None).map_err(|source| LauncherError::Socket { op: "poll", source })? {
                return receive(self.socket.as_fd(), None);
            }
        }
    }

    /// Waits until a child has ended, somebody has printed something, there is a request, or this moment; whether there is a
    /// request.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<bool, Errno> {
        let mut fds = vec![self.signals.as_fd()];
        fds.extend(self.pumps.iter().map(Pump::as_fd));
        // While a child is waited for, a request stays where it is.
        if deadline.is_none() {
            fds.push(self.socket.as_fd());
        }
        let ready = wait_readable(&fds, deadline)?;
        let mut of_pumps = ready.iter().skip(1);
        self.pumps.retain_mut(|pump| !of_pumps.next().copied().unwrap_or(false) || pump.step());
        Ok(deadline.is_none() && of_pumps.next().copied().unwrap_or(false))
    }

    /// Starts a command.
    fn start(&mut self, invocation: &Invocation) -> Result<i32, Reply> {
        match start(invocation) {
            Ok((pid, pumps)) => {
                self.pumps.extend(pumps);
                Ok(pid)
            }
            Err(error) => Err(refused(invocation, &error)),
        }
    }

    fn answer(&mut self, request: Request) -> Reply {
        match request {
            Request::Run { invocation, timeout_ms } => match self.start(&invocation) {
                Ok(pid) => {
                    let status = self.finish(pid, Duration::from_millis(timeout_ms));
                    Reply::Ran { pid, status }
                }
                Err(refused) => refused,
            },
            Request::RunAll { invocations, timeout_ms } => {
                self.run_all(&invocations, Duration::from_millis(timeout_ms))
            }
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

    /// Waits for a command, or kills it at the deadline.
    fn finish(&mut self, pid: i32, timeout: Duration) -> Option<i32> {
        let status = self.wait_for(pid, timeout);
        if status.is_none() {
            // With whatever it has made and left in its group.
            signal_process(-pid);
            signal_process(pid);
            self.wait_for(pid, Duration::from_secs(10));
        }
        self.pumps.retain_mut(Pump::drain);
        status
    }

    fn run_all(&mut self, invocations: &[Invocation], timeout: Duration) -> Reply {
        let deadline = Instant::now() + timeout;
        let mut started = Vec::new();
        let mut failed = None;
        for invocation in invocations {
            match self.start(invocation) {
                Ok(pid) => started.push(pid),
                Err(refused) => {
                    failed = Some(refused);
                    break;
                }
            }
        }
        let left = || deadline.saturating_duration_since(Instant::now());
        let ended = started.into_iter().map(|pid| (pid, self.finish(pid, left()))).collect();
        failed.unwrap_or(Reply::RanAll { ended })
    }

    /// Collects every child that has ended; while zombies are kept, only the wanted one.
    fn reap(&mut self, wanted: Option<Pid>) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        if self.keeps_zombies && wanted.is_none() {
            return;
        }
        while let Some((pid, status)) = take_ended(wanted.filter(|_| self.keeps_zombies)) {
            self.ended.insert(pid, status.into_raw());
        }
    }

    fn wait_for(&mut self, pid: i32, timeout: Duration) -> Option<i32> {
        let deadline = Instant::now() + timeout;
        loop {
            self.reap(Some(Pid::from_raw(pid)));
            if let Some(status) = self.ended.remove(&pid) {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            self.wait(Some(deadline)).ok()?;
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
            if self.wait(Some(round.min(deadline))).is_err() {
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
pub(crate) fn descendants(root: i32) -> Vec<i32> {
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
