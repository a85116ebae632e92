//! How a command makes a supervisor, and what the two say to each other until the pod is there.

use std::ffi::CString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl;
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execv, setsid};
use runtime::cgroup::CgroupPath;
use runtime::state::ProcessIdentity;
use runtime::sys::clone::{CloneRequest, Cloned, SingleThreaded, clone3};
use runtime::sys::fd::close_on_exec_from;
use serde::{Deserialize, Serialize};

use crate::state::PodDir;

/// What a supervisor says.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// pause runs.
    Sandbox(i32),
    /// The control socket is there.
    Ready,
    /// There will be no pod.
    Failed(String),
}

/// A supervisor that is being made.
#[derive(Debug)]
pub struct Spawned {
    process: Cloned,
    stream: BufReader<UnixStream>,
}

/// Clones a supervisor into its cgroup. It executes `podrt-pod --root ROOT supervise POD`.
///
/// # Errors
/// The failed call.
pub fn spawn(root: &Path, pod: &PodDir, cgroup: &CgroupPath) -> Result<Spawned> {
    let token = SingleThreaded::check().context("count the threads of the process, which must be one")?;
    let (ours, theirs) = UnixStream::pair().context("make a pair of sockets")?;
    let directory = cgroup.directory();
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let cgroup =
        open(&directory, flags, Mode::empty()).with_context(|| format!("open {}", directory.display()))?;
    let nul = |text: &[u8]| CString::new(text).context("a NUL byte in a path");
    let args = [
        nul(b"podrt-pod")?,
        nul(b"--root")?,
        nul(root.as_os_str().as_bytes())?,
        nul(b"supervise")?,
        nul(pod.name().as_bytes())?,
    ];
    let request = CloneRequest { namespaces: 0, cgroup: Some(cgroup.as_fd()), is_sibling: false };
    let process = clone3(token, &request, || match execute(&theirs, &args) {
        Ok(never) => match never {},
        // The command sees the end of the socket.
        Err(errno) => errno as i32,
    })
    .context("clone the supervisor")?;
    Ok(Spawned { process, stream: BufReader::new(ours) })
}

fn execute(channel: &UnixStream, args: &[CString]) -> Result<std::convert::Infallible, Errno> {
    setsid()?;
    dup2_stdin(channel)?;
    close_on_exec_from(3)?;
    SigSet::empty().thread_set_mask()?;
    execv(c"/proc/self/exe", args)
}

impl Spawned {
    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    /// Waits for the sandbox; pause as the node sees it.
    ///
    /// # Errors
    /// What failed, as the supervisor says.
    pub fn sandbox(&mut self) -> Result<i32> {
        match self.word()? {
            Word::Sandbox(pid) => Ok(pid),
            Word::Ready => bail!("the supervisor has said its words in the wrong order"),
            Word::Failed(why) => bail!(why),
        }
    }

    /// Lets the supervisor go on, and waits until it takes requests.
    ///
    /// # Errors
    /// What failed, as the supervisor says.
    pub fn go(&mut self) -> Result<()> {
        self.stream.get_mut().write_all(b"\n").context("talk to the supervisor")?;
        match self.word()? {
            Word::Ready => Ok(()),
            Word::Sandbox(_) => bail!("the supervisor has said its words in the wrong order"),
            Word::Failed(why) => bail!(why),
        }
    }

    fn word(&mut self) -> Result<Word> {
        let mut line = String::new();
        self.stream.read_line(&mut line).context("listen to the supervisor")?;
        if line.is_empty() {
            bail!("the supervisor (process {}) ended before the pod was ready", self.process.pid);
        }
        serde_json::from_str(&line).context("understand the supervisor")
    }
}

/// The supervisor's end.
#[derive(Debug)]
pub(super) struct Channel(UnixStream);

impl Channel {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(UnixStream::from(socket))
    }

    fn send(&self, word: &Word) -> Result<()> {
        let mut line = serde_json::to_vec(word)?;
        line.push(b'\n');
        (&self.0).write_all(&line).context("talk to the command")
    }

    pub(super) fn send_sandbox(&self, pid: i32) -> Result<()> {
        self.send(&Word::Sandbox(pid))
    }

    /// The pod is there, whether the command still listens or not.
    pub(super) fn send_ready(&self) {
        drop(self.send(&Word::Ready));
    }

    pub(super) fn send_failure(&self, why: &str) {
        // Nobody to tell: the command has gone.
        drop(self.send(&Word::Failed(why.to_owned())));
    }

    pub(super) fn wait_go(&self) -> Result<()> {
        let mut byte = [0];
        (&self.0).read_exact(&mut byte).context("the command has ended before the pod was ready")
    }
}

/// Makes the calling process one that stays: known, nobody's, last to be killed, with nothing of its caller's.
pub(super) fn settle(pod: &PodDir) -> Result<()> {
    let own = ProcessIdentity::of(Pid::this()).context("read /proc/self/stat")?;
    // Before anything is made: a clean-up finds the process by it.
    pod.save_supervisor(&own)?;
    prctl::set_child_subreaper(true).context("become a subreaper")?;
    prctl::set_dumpable(false).context("make the process not dumpable")?;
    prctl::set_name(c"podrt-pod").context("set the name of the process")?;
    fs::write("/proc/self/oom_score_adj", "-999").context("write /proc/self/oom_score_adj")?;
    chdir("/").context("change to /")?;
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    let null = super::container::open_null().context("open /dev/null")?;
    dup2_stdin(&null)
        .and_then(|()| dup2_stdout(&null))
        .and_then(|()| dup2_stderr(&null))
        .context("close the streams")
}

/// The channel, which a command has made the standard input.
///
/// # Errors
/// When the process was not started by a command.
pub fn take_channel() -> Result<OwnedFd> {
    let stdin = std::io::stdin();
    let is_socket =
        nix::sys::stat::fstat(&stdin).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFSOCK);
    if !is_socket {
        bail!("supervise is started by podrt pod run and create only");
    }
    stdin.as_fd().try_clone_to_owned().context("take over the socket")
}
