//! The output of one run of a container, on its way to the log.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{dup2_stderr, dup2_stdout, pipe2, read};

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
        let (out, stdout) = pipe2(OFlag::O_CLOEXEC)?;
        let (err, stderr) = pipe2(OFlag::O_CLOEXEC)?;
        for pipe in [&out, &err] {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok((Self { log, pipes: [Some(out), Some(err)] }, Ends { stdout, stderr }))
    }

    /// What to wait for.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pipes.iter().flatten().map(AsFd::as_fd)
    }

    /// Writes what is there to the log. A failed write loses output, as a full disk must not end the pod.
    pub(super) fn copy(&mut self, buffer: &mut [u8]) {
        for (pipe, stream) in self.pipes.iter_mut().zip(STREAMS) {
            while let Some(open) = pipe {
                match read(&*open, buffer) {
                    Ok(0) => *pipe = None,
                    Ok(n) => drop(self.log.write(stream, &buffer[..n], SystemTime::now())),
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    Err(_) => *pipe = None,
                }
            }
        }
    }

    /// Writes the rest, once nobody of the container is left.
    pub(super) fn finish(mut self, buffer: &mut [u8]) {
        self.copy(buffer);
        drop(self.log.finish(SystemTime::now()));
    }
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
