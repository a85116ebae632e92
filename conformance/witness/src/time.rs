//! Clocks and deadlines.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::failure::{During, Failure};

/// Longest wait that is counted; beyond it a deadline is as good as none.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A moment after which waiting ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// That many milliseconds ahead.
    pub(crate) fn in_ms(ms: u64) -> Self {
        Self(Instant::now() + Duration::from_millis(ms).min(LONGEST))
    }

    /// Time left, zero when it is over.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether the time is over.
    pub(crate) fn is_over(self) -> bool {
        self.left().is_zero()
    }

    /// Time left in the unit of poll(2), rounded up so that waiting it out passes the deadline.
    fn poll_timeout(self) -> PollTimeout {
        let ms = self.left().as_nanos().div_ceil(1_000_000);
        PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
    }

    /// Waits until the descriptor is readable or at its end.
    ///
    /// # Errors
    /// `ETIMEDOUT` when the time is over first.
    pub(crate) fn wait_readable(self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        loop {
            match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], self.poll_timeout()) {
                Ok(0) if self.is_over() => return Err(Errno::ETIMEDOUT),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Waits the time out, whatever signals come.
    pub(crate) fn wait_out(self) {
        while !self.is_over() {
            // With no descriptor only the timeout and signals end the call, and both lead to the condition.
            poll(&mut [], self.poll_timeout()).unwrap_or_default();
        }
    }
}

/// Reads a clock in nanoseconds.
///
/// # Errors
/// That of clock_gettime(2).
pub(crate) fn now_ns(clock: ClockId) -> Result<u64, Errno> {
    let now = clock_gettime(clock)?;
    Ok(now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs())
}

/// `clocks`.
pub(crate) fn clocks() -> Result<Value, Failure> {
    let read = |clock| now_ns(clock).during(|| format!("read clock {clock}"));
    Ok(json!({
        "realtime": read(ClockId::CLOCK_REALTIME)?,
        "monotonic": read(ClockId::CLOCK_MONOTONIC)?,
        "boottime": read(ClockId::CLOCK_BOOTTIME)?,
    }))
}
