//! Runs hooks (config.md, POSIX-platform hooks).
//!
//! A hook gets the state on its standard input as a file in memory, so that one which does not read it hinders nobody. What it
//! prints goes to the message of its failure. It is over when its process has ended, whatever children it leaves
//! with its descriptors open. After the timeout its process group is killed. It dies with who waits for it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setpgid};

use super::{Context, StepError};
use crate::spec::HookSpec;
use crate::sys::clone::{CloneRequest, Cloned, SingleThreaded, clone3};
use crate::sys::wait::Ended;
use crate::sys::{fd, process, wait};

/// How much of a hook's output an error shows: the last bytes.
const OUTPUT_MAX: usize = 2000;

/// How long a killed hook may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Runs one hook to its end.
///
/// # Errors
/// `ECANCELED` when it ends with anything but 0, `ETIMEDOUT` when it had to be killed, else why it could not be run.
pub(super) fn run(token: SingleThreaded, hook: &HookSpec, state: &[u8]) -> Result<(), StepError> {
    let mut input = File::from(memfd_create(c"state", MFdFlags::MFD_CLOEXEC)?);
    input.write_all(state).and_then(|()| input.rewind()).during(|| "write the state for it")?;
    let (output, output_end) = pipe2(OFlag::O_CLOEXEC)?;
    let (failure, failure_end) = pipe2(OFlag::O_CLOEXEC)?;
    let parent = Pid::this();
    let child = clone3(token, &CloneRequest::default(), || {
        let Err(errno) = execute(hook, parent, &input, &output_end, &failure_end);
        // The reader may have been killed.
        let _lost = nix::unistd::write(&failure_end, &(errno as i32).to_ne_bytes());
        127
    })
    .during(|| "clone a process for it")?;
    drop((output_end, failure_end));
    let mut output = Output::new(output)?;
    let has_ended = wait(&child, hook, &mut output)?;
    if !has_ended {
        // What it has started may hold on; a child that left the group does so on purpose.
        let killed = killpg(child.pid, Signal::SIGKILL)
            .or_else(|_gone| process::pidfd_send_signal(child.pidfd.as_fd(), libc::SIGKILL));
        killed.or_else(gone_is_fine).during(|| "kill it")?;
        if !process::wait_end(child.pidfd.as_fd(), KILL_DEADLINE)? {
            return Err(StepError::new("wait for its end after SIGKILL", Errno::ETIMEDOUT));
        }
    }
    let ended = wait::wait(child.pid)?;
    let mut errno = [0; 4];
    if File::from(failure).read(&mut errno).is_ok_and(|n| n == errno.len()) {
        return Err(StepError::new("execute it", Errno::from_raw(i32::from_ne_bytes(errno))));
    }
    let said = output.text();
    match ended {
        _ if !has_ended => {
            let seconds = hook.timeout_s.map_or(0, |seconds| seconds.get());
            Err(StepError::new(format!("killed after its timeout of {seconds} s{said}"), Errno::ETIMEDOUT))
        }
        Ended::Exited(0) => Ok(()),
        _ => Err(StepError::new(format!("{ended}{said}"), Errno::ECANCELED)),
    }
}

/// Runs hooks whose failure stops nothing; says what failed.
pub(super) fn run_all_noting(token: SingleThreaded, hooks: &[HookSpec], state: &[u8]) -> Vec<String> {
    let failed = |hook: &HookSpec| match run(token, hook, state) {
        Ok(()) => None,
        Err(StepError { detail, errno }) if detail.is_empty() => Some(format!("{hook}: {errno}")),
        Err(StepError { detail, errno }) => Some(format!("{hook}: {detail}: {errno}")),
    };
    hooks.iter().filter_map(failed).collect()
}

/// Takes the processes that hooks have left to PID 1 and that have ended, so that the program finds no child of others.
pub(super) fn reap_orphans() {
    while matches!(wait::take_any(), Ok(Some(_ended))) {}
}

/// The hook's process up to its exec.
fn execute(
    hook: &HookSpec,
    parent: Pid,
    input: &File,
    output: &OwnedFd,
    failure: &OwnedFd,
) -> Result<Infallible, Errno> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // It may have ended before that.
    if Pid::parent() != parent {
        return Err(Errno::ESRCH);
    }
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    process::reset_signals()?;
    umask(Mode::from_bits_truncate(0o022));
    // None of these is one of the first three: the standard library opens what its caller has closed of them.
    dup2_stdin(input)?;
    dup2_stdout(output)?;
    dup2_stderr(output)?;
    fd::close_all_except(3, &[failure.as_fd()])?;
    nix::unistd::execve(&hook.path, &hook.args, &hook.env)
}

/// Waits for the end; false when the timeout came first.
fn wait(child: &Cloned, hook: &HookSpec, output: &mut Output) -> Result<bool, StepError> {
    let deadline =
        hook.timeout_s.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds.get())));
    loop {
        let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
            PollTimeout::try_from(deadline.saturating_duration_since(Instant::now()))
                .unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)];
        fds.extend(output.pipe.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let has_ended = process::has_ended(child.pidfd.as_fd())?;
        output.take();
        if has_ended {
            return Ok(true);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(false);
        }
    }
}

fn gone_is_fine(errno: Errno) -> Result<(), Errno> {
    if errno == Errno::ESRCH { Ok(()) } else { Err(errno) }
}

/// The end of what a hook prints.
struct Output {
    /// None once every writer has closed it.
    pipe: Option<File>,
    last: VecDeque<u8>,
}

impl Output {
    fn new(pipe: OwnedFd) -> Result<Self, Errno> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe: Some(File::from(pipe)), last: VecDeque::new() })
    }

    /// Takes what is there, up to a pipe's full, so that one which never stops does not hide its end.
    fn take(&mut self) {
        let mut bytes = [0; 4096];
        for _ in 0..16 {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(&mut bytes) {
                Ok(0) => self.pipe = None,
                Ok(n) => {
                    self.last.extend(&bytes[..n]);
                    self.last.drain(..self.last.len().saturating_sub(OUTPUT_MAX));
                }
                Err(_empty) => return,
            }
        }
    }

    fn text(mut self) -> String {
        let text = String::from_utf8_lossy(self.last.make_contiguous()).trim().replace('\n', "; ");
        if text.is_empty() { text } else { format!(", it said: {text}") }
    }
}
