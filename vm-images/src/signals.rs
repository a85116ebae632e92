//! The signals that end a run, as a descriptor: the machine is ended in order, and the caller learns why.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// While it lives, SIGINT, SIGTERM and SIGHUP do not end this thread but are read from it. SIGWINCH, too, which
/// tells that the terminal has another size.
#[derive(Debug)]
pub(crate) struct SignalGuard {
    fd: SignalFd,
    previous: SigSet,
}

impl SignalGuard {
    pub(crate) fn block() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGWINCH] {
            mask.add(signal);
        }
        let previous = mask.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        match SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK) {
            Ok(fd) => Ok(Self { fd, previous }),
            Err(errno) => {
                previous.thread_set_mask()?;
                Err(errno.into())
            }
        }
    }

    /// The next signal that has arrived.
    pub(crate) fn next(&self) -> Option<Signal> {
        let arrived = self.fd.read_signal().ok()??;
        Signal::try_from(i32::try_from(arrived.ssi_signo).ok()?).ok()
    }
}

impl AsFd for SignalGuard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        // Cannot fail: the mask came from the same call.
        self.previous.thread_set_mask().ok();
    }
}
