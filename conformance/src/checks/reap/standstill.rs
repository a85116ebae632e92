//! A process that stands still, or runs: signals sent to it by the suite, and the kernel's records of it.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cell::{Cell, Obstacle};
use crate::observe::process;

/// Sends a signal from the node.
pub(super) fn send(pid: i32, signal: Signal) -> Result<(), Obstacle> {
    kill(Pid::from_raw(pid), signal).map_err(|errno| Obstacle::Node {
        op: "signal",
        path: format!("/proc/{pid}").into(),
        source: errno.into(),
    })
}

/// Waits until a process is in one of these states. No event tells of it, so the state is read until it is so.
pub(super) fn await_state(cell: &Cell<'_>, pid: i32, wanted: &[char]) -> bool {
    await_so(cell, || process::state(pid).is_some_and(|state| wanted.contains(&state)))
}

/// Waits until it is so, five seconds at most; `false` when it is not.
pub(super) fn await_so(cell: &Cell<'_>, is_so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + cell.deadline(5.0);
    while !is_so() {
        if Instant::now() >= deadline {
            return false;
        }
        crate::observe::pause(Duration::from_millis(1));
    }
    true
}

/// How often a process was switched away from, of its own will or not (proc(5)).
pub(super) fn switches(pid: i32) -> Result<u64, Obstacle> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).map_err(|source| Obstacle::Node {
        op: "read",
        path: path.clone().into(),
        source,
    })?;
    n_switches(&status).ok_or_else(|| Obstacle::Trace(format!("{path} has no count of context switches")))
}

/// The same from the text of `/proc/PID/status`.
pub(super) fn n_switches(status: &str) -> Option<u64> {
    ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"]
        .into_iter()
        .map(|field| process::status_field(status, field)?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::n_switches;

    #[test]
    fn both_kinds_of_switches_count() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t40\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(n_switches(status), Some(42));
        assert_eq!(n_switches("Name:\tx\n"), None);
    }
}
