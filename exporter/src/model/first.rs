//! The process that a container began with.

use std::time::Duration;

/// The oldest one of its cgroup when that was looked at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First {
    /// In the initial pid namespace.
    pub(crate) pid: i32,
    /// Ticks since boot, which tell it from a later process of this number (proc_pid_stat(5), `starttime`).
    pub(crate) start_time: u64,
    /// The same in Unix time.
    pub(crate) at: Duration,
}
