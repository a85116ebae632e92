//! The caller's terminal and the container's, joined while a program runs in the foreground.
//!
//! One loop, no threads. The container's master does not block, and what it does not take is kept until it does: a program
//! that reads nothing must not keep its own output from being seen.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, write};

use crate::sys::pty;

/// How long a terminal that others hold open may be silent after the program's end, in milliseconds, until it
/// counts as read.
const SILENCE_MS: u8 = 100;

/// A terminal of a container, copied from and to the standard streams. They are as before when it is dropped.
#[derive(Debug)]
pub struct Attached {
    master: OwnedFd,
    /// Modes of the standard input, where that is a terminal.
    modes: Option<Termios>,
    is_input_open: bool,
    is_output_open: bool,
    /// Read from the input, and not taken by the program yet.
    pending: Vec<u8>,
}

impl Attached {
    /// Takes the standard input, raw where it is a terminal, and gives its size to the container's.
    ///
    /// # Errors
    /// The failed call.
    pub fn new(master: OwnedFd) -> Result<Self, Errno> {
        let flags = OFlag::from_bits_retain(fcntl(&master, FcntlArg::F_GETFL)?);
        fcntl(&master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let mut attached =
            Self { master, modes: None, is_input_open: true, is_output_open: true, pending: Vec::new() };
        if let Ok(modes) = tcgetattr(io::stdin()) {
            let mut raw = modes.clone();
            cfmakeraw(&mut raw);
            attached.resize();
            tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
            attached.modes = Some(modes);
        }
        Ok(attached)
    }

    /// Gives the size of the caller's terminal to the container's.
    pub fn resize(&mut self) {
        // A size is a convenience; and the program may just have closed its end.
        if let Ok(size) = pty::size(io::stdin().as_fd())
            && pty::set_size(self.master.as_fd(), size).is_err()
        {}
    }

    /// What to wait for.
    pub(super) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let master = match (self.is_output_open, self.pending.is_empty()) {
            (true, true) => Some(PollFlags::POLLIN),
            (true, false) => Some(PollFlags::POLLIN | PollFlags::POLLOUT),
            // With nobody at the other end it would be ready for ever.
            (false, _) => None,
        };
        let master = master.map(|events| PollFd::new(self.master.as_fd(), events));
        let is_wanted = self.is_input_open && self.pending.is_empty();
        master.into_iter().chain(is_wanted.then(|| PollFd::new(stdin(), PollFlags::POLLIN)))
    }

    /// Copies what is there, both ways.
    pub(super) fn copy(&mut self) -> Result<(), Errno> {
        if self.is_input_open && self.pending.is_empty() && is_ready(stdin(), PollTimeout::ZERO)? {
            let mut bytes = [0; 4096];
            match read(stdin(), &mut bytes) {
                Ok(0) | Err(Errno::EIO) => self.is_input_open = false,
                Ok(n) => self.pending.extend(&bytes[..n]),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        while !self.pending.is_empty() {
            match write(&self.master, &self.pending) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(Errno::EAGAIN | Errno::EINTR) => break,
                // Nobody reads it any more.
                Err(Errno::EIO) => self.pending.clear(),
                Err(errno) => return Err(errno),
            }
        }
        self.copy_output()
    }

    /// Copies the rest of the output.
    pub(super) fn finish(mut self) -> Result<(), Errno> {
        self.copy_output()?;
        while self.is_output_open && is_ready(self.master.as_fd(), PollTimeout::from(SILENCE_MS))? {
            self.copy_output()?;
        }
        Ok(())
    }

    fn copy_output(&mut self) -> Result<(), Errno> {
        let mut bytes = [0; 4096];
        while self.is_output_open {
            match read(&self.master, &mut bytes) {
                // EIO: every descriptor of the other end is closed, and everything has been read.
                Ok(0) | Err(Errno::EIO) => self.is_output_open = false,
                Ok(n) => write_all(&bytes[..n])?,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(modes) = &self.modes
            && tcsetattr(io::stdin(), SetArg::TCSADRAIN, modes).is_err()
        {}
    }
}

fn stdin() -> BorrowedFd<'static> {
    // A handle of the standard library has no lifetime of its own, and the descriptor is never closed.
    static STDIN: std::sync::LazyLock<io::Stdin> = std::sync::LazyLock::new(io::stdin);
    STDIN.as_fd()
}

fn is_ready(fd: BorrowedFd<'_>, timeout: PollTimeout) -> Result<bool, Errno> {
    match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
        Err(Errno::EINTR) => Ok(false),
        result => result.map(|n| n > 0),
    }
}

/// Without the buffer of the standard library, which keeps what has no line end yet.
fn write_all(mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(io::stdout(), bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                poll(&mut [PollFd::new(io::stdout().as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
            }
            // Nobody reads it: the program goes on all the same.
            Err(Errno::EPIPE | Errno::EIO) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
