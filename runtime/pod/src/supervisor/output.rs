//! The output of one run of a container, on its way to the log.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdout, pipe2, read};

use crate::descriptor::fd_path;
use crate::logs::{LogWriter, Stream};

/// Both pipes, and where they lead.
#[derive(Debug)]
pub(super) struct Output {
    log: LogWriter,
    pipes: [Option<OwnedFd>; 2],
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// The ends for the container.
#[derive(Debug)]
pub(super) struct Ends {
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Output {
    /// Makes the pipes.
    pub(super) fn new(log: LogWriter) -> Result<(Self, Ends), Errno> {
        let (out, stdout) = pipe()?;
        let (err, stderr) = pipe()?;
        Ok((Self { log, pipes: [Some(out), Some(err)] }, Ends { stdout, stderr }))
    }

    /// What to wait for.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pipes.iter().flatten().map(AsFd::as_fd)
    }

    /// Writes what is there to the log, as much as the buffer holds of each stream: a container that never ceases to write must
    /// not keep its supervisor from all else.
    pub(super) fn copy(&mut self, buffer: &mut [u8]) {
        for index in 0..STREAMS.len() {
            self.copy_once(index, buffer);
        }
    }

    /// Writes the rest, once the container has ended. Whoever has the pipe still, and is not of the container's cgroup, is not
    /// listened to any longer.
    pub(super) fn finish(mut self, buffer: &mut [u8]) {
        for index in 0..STREAMS.len() {
            let size = self.pipes[index].as_ref().and_then(|pipe| fcntl(pipe, FcntlArg::F_GETPIPE_SZ).ok());
            let mut left = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
            while left > 0
                && let Some(n) = self.copy_once(index, buffer)
            {
                left = left.saturating_sub(n);
            }
        }
        drop(self.log.finish(SystemTime::now()));
    }

    /// Reads a stream once; `None` when there is nothing now. A failed write loses output, as a full disk must not end the pod.
    fn copy_once(&mut self, index: usize, buffer: &mut [u8]) -> Option<usize> {
        let n = match read(self.pipes[index].as_ref()?, buffer) {
            Err(Errno::EAGAIN | Errno::EINTR) => return None,
            result => result.unwrap_or(0),
        };
        if n == 0 {
            self.pipes[index] = None;
            return None;
        }
        drop(self.log.write(STREAMS[index], &buffer[..n], SystemTime::now()));
        Some(n)
    }
}

/// The supervisor's end, and the container's. The latter can be read as well, and so is never without a reader: a program that
/// writes after the supervisor's death has the pipe's buffer, and then waits; it gets no SIGPIPE (pipe(7), fifo(7)).
fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    let both = open(&fd_path(&write), OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok((read, both))
}

/// Makes the pipes the supervisor's own output while `make` makes a process, which inherits them.
pub(super) fn with_output<T>(ends: &Ends, null: &OwnedFd, make: impl FnOnce() -> T) -> Result<T, Errno> {
    dup2_stdout(&ends.stdout)?;
    dup2_stderr(&ends.stderr)?;
    let made = make();
    dup2_stdout(null)?;
    dup2_stderr(null)?;
    Ok(made)
}
