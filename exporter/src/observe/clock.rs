//! The clocks.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME`, as the probes stamp.
pub(crate) fn boot() -> Duration {
    now(ClockId::CLOCK_BOOTTIME)
}

/// The same in nanoseconds.
pub(crate) fn boot_ns() -> u64 {
    u64::try_from(boot().as_nanos()).unwrap_or(u64::MAX)
}

/// Since the epoch.
pub(crate) fn unix() -> Duration {
    now(ClockId::CLOCK_REALTIME)
}

fn now(clock: ClockId) -> Duration {
    // Both clocks are there on every Linux, and not before the epoch.
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}
