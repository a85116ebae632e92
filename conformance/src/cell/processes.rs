//! Processes of a cell that are no containers: the suite's own, and what a runtime leaves behind.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podproof_ebpf::event::EventKind;

use super::{Cell, Obstacle};
use crate::helper::Holders;

impl Cell<'_> {
    /// Makes a new namespace of each type, held by processes that stay until [`Cell::end_processes`].
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn hold_namespaces(&mut self) -> Result<Holders, Obstacle> {
        let printed = self.helper(&["namespaces"])?.stdout;
        serde_json::from_str(&printed).map_err(|error| Obstacle::Node {
            op: "parse what the helper printed:",
            path: printed.into(),
            source: error.into(),
        })
    }

    /// Kills processes that the suite started in this cell and waits for their end.
    ///
    /// # Errors
    /// When one cannot be killed or does not end.
    pub fn end_processes(&mut self, pids: &[i32]) -> Result<(), Obstacle> {
        for pid in pids {
            let failed = |source| Obstacle::Node { op: "end", path: format!("/proc/{pid}").into(), source };
            match kill(Pid::from_raw(*pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
            if self.wait(*pid, self.deadline(5.0))?.is_none() {
                return Err(failed(io::Error::from(io::ErrorKind::TimedOut)));
            }
        }
        Ok(())
    }

    /// Waits until every process that was made in this cell has ended, at most this long; how many are left.
    ///
    /// # Errors
    /// When the probes are not there or the fence does not come through.
    pub fn settled(&self, patience: Duration) -> Result<usize, Obstacle> {
        let deadline = Instant::now() + patience;
        loop {
            let trace = self.trace()?;
            let living = trace.living();
            let left = deadline.saturating_duration_since(Instant::now());
            match living.first() {
                Some(first) if !left.is_zero() => {
                    let tgid = first.child.task.tgid;
                    self.await_event(left, |event| match &event.kind {
                        EventKind::Exit { task, group_dead, .. } => *group_dead && task.task.tgid == tgid,
                        _ => false,
                    })?;
                }
                _ => return Ok(living.len()),
            }
        }
    }
}
