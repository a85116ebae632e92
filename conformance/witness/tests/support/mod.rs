//! The suite's side of the protocol, and the truth read from outside.

#![allow(dead_code, reason = "every test binary uses its own part of it")]

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command as Program, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, getsockopt, listen, recv,
    send, socket,
};
use podproof_witness::{Birth, Command, Hello, MAX_PACKET, Outcome, Reply, Request};
use serde_json::Value;
use tempfile::TempDir;

/// No step of a test takes longer, on a loaded machine either.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_podproof-witness");

/// Runs what follows it as PID 1 of a new pid namespace that has its own `/proc`.
pub(crate) const AS_PID_1: [&str; 6] =
    ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation=private"];

/// Whether this test can make namespaces and change users; says that it is left out where it cannot.
pub(crate) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// A witness that said hello, and the directory that it lives in.
pub(crate) struct Witness {
    dir: TempDir,
    child: Child,
    connection: OwnedFd,
    hello: Hello,
    last_id: u64,
}

impl Witness {
    /// Starts one directly.
    pub(crate) fn start() -> Result<Self> {
        Self::start_by(&[])
    }

    /// Starts one by a program that executes the rest of its command line.
    pub(crate) fn start_by(launcher: &[&str]) -> Result<Self> {
        Self::start_as(launcher, &[])
    }

    /// The same, with steps before `serve`.
    pub(crate) fn start_as(launcher: &[&str], steps: &[&str]) -> Result<Self> {
        let dir = open_dir()?;
        let path = dir.path().join("socket");
        let listener = listen_at(&path)?;
        // A copy that users without rights on the build directory can execute.
        let program = dir.path().join("witness");
        copy_program(PROGRAM, &program)?;
        let program = program.display().to_string();
        let socket = path.display().to_string();
        let words: Vec<&str> = launcher
            .iter()
            .copied()
            .chain([program.as_str()])
            .chain(steps.iter().copied())
            .chain(["serve", "--name", "a", "--socket", socket.as_str()])
            .collect();
        let mut child = Program::new(words[0])
            .args(&words[1..])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("start {words:?}"))?;
        match meet(&listener) {
            Ok((connection, hello)) => Ok(Self { dir, child, connection, hello, last_id: 0 }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn name(&self) -> &str {
        &self.hello.name
    }

    pub(crate) fn birth(&self) -> &Birth {
        &self.hello.birth
    }

    /// Its pid, as this process sees it.
    pub(crate) fn outer_pid(&self) -> Result<i32> {
        Ok(getsockopt(&self.connection, PeerCredentials)?.pid())
    }

    /// Sends a command without waiting for the answer.
    pub(crate) fn tell(&mut self, command: Command) -> Result<()> {
        self.last_id += 1;
        let packet = serde_json::to_vec(&Request { id: self.last_id, command })?;
        self.tell_raw(&packet)
    }

    pub(crate) fn tell_raw(&mut self, packet: &[u8]) -> Result<()> {
        send(self.connection.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL)?;
        Ok(())
    }

    pub(crate) fn reply(&mut self) -> Result<Reply> {
        let packet = receive(&self.connection)?.context("the witness closed the connection")?;
        Ok(serde_json::from_slice(&packet)?)
    }

    fn outcome(&mut self, command: Command) -> Result<Outcome> {
        self.tell(command)?;
        let reply = self.reply()?;
        ensure!(reply.id == self.last_id, "reply {} to request {}", reply.id, self.last_id);
        Ok(reply.outcome)
    }

    /// Value of a command that works.
    pub(crate) fn ask(&mut self, command: Command) -> Result<Value> {
        match self.outcome(command.clone())? {
            Outcome::Done(value) => Ok(value),
            Outcome::Failed { op, errno } => bail!("{command:?}: {op}: {}", Errno::from_raw(errno)),
        }
    }

    /// The same as numbers.
    pub(crate) fn ask_pids(&mut self, command: Command) -> Result<Vec<i32>> {
        Ok(serde_json::from_value(self.ask(command)?)?)
    }

    /// Error number of a command that fails.
    pub(crate) fn ask_in_vain(&mut self, command: Command) -> Result<Errno> {
        match self.outcome(command.clone())? {
            Outcome::Done(value) => bail!("{command:?} worked: {value}"),
            Outcome::Failed { op, errno } => {
                ensure!(!op.is_empty(), "the failure of {command:?} names no operation");
                Ok(Errno::from_raw(errno))
            }
        }
    }

    /// Waits for the end that a command or a signal brings about.
    pub(crate) fn wait(mut self) -> Result<ExitStatus> {
        wait(&mut self.child)
    }

    /// Closes the connection and waits for the end.
    pub(crate) fn abandon(self) -> Result<ExitStatus> {
        let Self { dir: _dir, mut child, connection, .. } = self;
        drop(connection);
        wait(&mut child)
    }
}

/// Runs the program to its end: exit status and standard error.
pub(crate) fn run(words: &[&str]) -> Result<(ExitStatus, String)> {
    let mut child = Program::new(PROGRAM).args(words).stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = String::new();
    child.stderr.take().context("no pipe")?.read_to_string(&mut stderr)?;
    Ok((wait(&mut child)?, stderr))
}

/// A new directory that every user can enter.
pub(crate) fn open_dir() -> Result<TempDir> {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    Ok(dir)
}

/// Listens for witnesses.
pub(crate) fn listen_at(path: &Path) -> Result<OwnedFd> {
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    bind(listener.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    listen(&listener, Backlog::new(1)?)?;
    Ok(listener)
}

/// Accepts one witness and its hello.
pub(crate) fn meet(listener: &OwnedFd) -> Result<(OwnedFd, Hello)> {
    wait_readable(listener).context("no witness connected")?;
    let connection = adopt(accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?);
    let hello = receive(&connection)?.context("no hello")?;
    Ok((connection, serde_json::from_slice(&hello)?))
}

#[allow(unsafe_code, reason = "nix's accept4 returns a bare number")]
fn adopt(fd: i32) -> OwnedFd {
    // SAFETY: accept4(2) has just returned it, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Copies a program by another process: a descriptor open for writing in this one could be inherited by what a
/// parallel test starts, and a file that is open for writing cannot be executed.
pub(crate) fn copy_program(from: &str, to: &Path) -> Result<()> {
    ensure!(Program::new("cp").arg(from).arg(to).status()?.success(), "copy {from} to {}", to.display());
    Ok(())
}

fn receive(connection: &OwnedFd) -> Result<Option<Vec<u8>>> {
    wait_readable(connection)?;
    let mut packet = vec![0; MAX_PACKET];
    match recv(connection.as_raw_fd(), &mut packet, MsgFlags::empty()) {
        Ok(0) | Err(Errno::ECONNRESET) => Ok(None),
        Ok(len) => {
            packet.truncate(len);
            Ok(Some(packet))
        }
        Err(errno) => Err(errno.into()),
    }
}

fn wait_readable(fd: &OwnedFd) -> Result<()> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let timeout = u16::try_from(PATIENCE.as_millis()).context("the deadline is out of range")?;
    ensure!(poll(&mut fds, timeout)? == 1, "nothing came in {PATIENCE:?}");
    Ok(())
}

/// Waits until a condition holds that only `/proc` can tell.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    while !is_so()? {
        ensure!(begin.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        poll(&mut [], 5_u16)?;
    }
    Ok(())
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    let mut status = None;
    eventually("the end of the witness", || {
        status = child.try_wait()?;
        Ok(status.is_some())
    })?;
    status.context("no status")
}

/// Value of one line of `/proc/PID/status`, `None` when there is no such process.
pub(crate) fn status_of(pid: i32, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    line_of(&status, key)
}

/// Value of one line of such a text.
pub(crate) fn line_of(status: &str, key: &str) -> Option<String> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Value of a line with a mask, such as `SigIgn`.
pub(crate) fn mask_of(status: &str, key: &str) -> Result<u64> {
    Ok(u64::from_str_radix(&line_of(status, key).with_context(|| format!("no {key}"))?, 16)?)
}

/// Descriptors above the standard ones that this process hands down to what it starts: an environment may have some.
pub(crate) fn inherited_descriptors() -> Result<Vec<i32>> {
    let mut fds = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let fd: i32 = entry?.file_name().to_string_lossy().parse()?;
        // The one that lists is gone by then, or has another meaning, with the flag.
        let flags = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok();
        let flags = flags.as_deref().and_then(|text| line_of(text, "flags"));
        if let Some(flags) = flags
            && fd > 2
            && u32::from_str_radix(&flags, 8)? & libc::O_CLOEXEC.unsigned_abs() == 0
        {
            fds.push(fd);
        }
    }
    Ok(fds)
}

/// Signals that a program started from here ignores from the beginning: what the environment ignores, and 32 and 33
/// where the C library of the starter has taken them (posix_spawn).
pub(crate) fn inherited_ignored() -> Result<u64> {
    // With a directory, as the witness is started: it decides between fork(2) and posix_spawn(3).
    let output = Program::new("cat").arg("/proc/self/status").current_dir("/").output()?;
    mask_of(&String::from_utf8(output.stdout)?, "SigIgn")
}

/// Bit of SIGPIPE in a mask.
pub(crate) const PIPE: u64 = 1 << 12;

/// Whether a process is gone or only waits to be reaped.
pub(crate) fn has_ended(pid: i32) -> bool {
    status_of(pid, "State").is_none_or(|state| state.starts_with('Z'))
}

/// Targets of the open descriptors of a process.
pub(crate) fn descriptors_of(pid: i32) -> Result<Vec<(i32, String)>> {
    let mut fds = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let target = fs::read_link(entry.path())?.display().to_string();
        fds.push((entry.file_name().to_string_lossy().parse()?, target));
    }
    fds.sort();
    Ok(fds)
}
