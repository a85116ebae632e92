//! Looking from outside: the witness's connection, the trace, and the kernel's own records.

pub mod cgroup;
pub mod mqueue;
pub mod process;
pub mod snapshot;
pub mod tcp;
pub mod trace;
pub mod witness;

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits until the descriptor can be read, at most this long.
pub(crate) fn poll_for(fd: &impl AsFd, timeout: Duration) {
    let timeout = PollTimeout::try_from(timeout.as_millis()).unwrap_or(PollTimeout::MAX);
    // Woken early by a signal is as good as woken by an event: every caller looks again.
    if let Err(errno) = poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout) {
        tracing::trace!(%errno, "poll");
    }
}

/// Lets other programs go on before the node is looked at again, where the kernel gives no event to wait for.
pub(crate) fn pause(period: Duration) {
    let timeout = PollTimeout::try_from(period.as_millis()).unwrap_or(PollTimeout::MAX);
    if let Err(errno) = poll(&mut [], timeout) {
        tracing::trace!(%errno, "poll");
    }
}
