//! A scope: who is watched, and the log of what they did.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use aya::maps::MapError;
use podproof_abi::START_TICK_NS;
use thiserror::Error;

use crate::event::Event;
use crate::programs::AttachError;
use crate::stream::{Log, LogState, lock};
use crate::tracer::Shared;

/// A mark that found no room in the ring is asked for again after this time.
const FENCE_RETRY: Duration = Duration::from_millis(20);

/// Why a scope could not be opened, changed or fenced.
#[derive(Debug, Error)]
pub enum TraceError {
    /// All scope ids are taken.
    #[error("no free scope: {max} are open; drop some")]
    TooManyScopes {
        /// How many there can be.
        max: u32,
    },
    /// The process to add could not be read.
    #[error("cannot add thread group {tgid} to scope {scope}: cannot read /proc/{tgid}/stat")]
    NoProcess {
        /// The scope.
        scope: u32,
        /// The thread group.
        tgid: u32,
        /// The cause.
        source: io::Error,
    },
    /// A BPF map refused a change.
    #[error("cannot {op} of scope {scope}")]
    Map {
        /// What was tried.
        op: &'static str,
        /// The scope.
        scope: u32,
        /// The cause.
        source: MapError,
    },
    /// A program that is there for scopes only could not be attached.
    #[error("cannot open scope {scope}")]
    Attach {
        /// The scope.
        scope: u32,
        /// The cause.
        source: AttachError,
    },
    /// The kernel refused to run the program that writes marks.
    #[error("cannot run the fence program for scope {scope}")]
    Fence {
        /// The scope.
        scope: u32,
        /// The cause.
        source: io::Error,
    },
    /// The mark was not read in time.
    #[error("fence of scope {scope}: its mark was not read within {waited_ms} ms; events may be missing")]
    FenceTimeout {
        /// The scope.
        scope: u32,
        /// How long was waited.
        waited_ms: u128,
    },
    /// The tracer is gone.
    #[error("scope {scope}: the tracer was stopped")]
    Stopped {
        /// The scope.
        scope: u32,
    },
}

/// Watches the descendants of a thread group, or of whatever is in a cgroup. Dropping it ends that.
pub struct Scope {
    id: u32,
    log: Arc<Log>,
    shared: Arc<Shared>,
    /// Runs that the kernel had skipped when the scope was opened.
    missed_before: Option<u64>,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Scope {
    pub(crate) fn new(id: u32, log: Arc<Log>, shared: Arc<Shared>) -> Self {
        let missed_before = shared.missed.count();
        Self { id, log, shared, missed_before }
    }

    /// Its number, which every event carries.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Adds a running process. What it creates from here on belongs to the scope, over exec, reparenting and until the
    /// last of it is reaped and freed. Children that it already has do not.
    ///
    /// # Errors
    /// When there is no such process, or the map of tags is full.
    pub fn add_thread_group(&self, tgid: u32) -> Result<(), TraceError> {
        let start_ns =
            start_ns(tgid).map_err(|source| TraceError::NoProcess { scope: self.id, tgid, source })?;
        self.shared.tag_thread_group(tgid, self.id, start_ns).map_err(|source| TraceError::Map {
            op: "add a thread group",
            scope: self.id,
            source,
        })
    }

    /// Adds a cgroup of the v2 hierarchy by its id (the inode of its directory), with the cgroups that will be made below
    /// it. Tasks belong to the scope when they are created in one of them, moved into it, or act in it.
    ///
    /// # Errors
    /// When the map of cgroups is full.
    pub fn add_cgroup(&self, id: u64) -> Result<(), TraceError> {
        self.shared.tag_cgroup(id, self.id).map_err(|source| TraceError::Map {
            op: "add a cgroup",
            scope: self.id,
            source,
        })
    }

    /// Returns when everything that happened before the call is in [`Scope::events`].
    ///
    /// A task does not happen before a call merely because a waiter has noticed something of it: a pidfd
    /// becomes readable a moment before `SIGCHLD` is generated. After waitid(2) has returned, all of the
    /// child's life is before the call, except its `Free`.
    ///
    /// # Errors
    /// When the mark could not be written, or was not read in time.
    pub fn fence(&self, timeout: Duration) -> Result<(), TraceError> {
        let start = Instant::now();
        let cookie = self.shared.next_cookie();
        lock(&self.log.state).awaited.insert(cookie);
        let result = self.await_mark(cookie, start, timeout);
        lock(&self.log.state).awaited.remove(&cookie);
        result
    }

    fn await_mark(&self, cookie: u64, start: Instant, timeout: Duration) -> Result<(), TraceError> {
        let scope = self.id;
        loop {
            self.shared.write_mark(scope, cookie).map_err(|source| TraceError::Fence { scope, source })?;
            self.shared.registry.nudge();
            let left = timeout.saturating_sub(start.elapsed());
            let guard = lock(&self.log.state);
            let (guard, _timed_out) = self
                .log
                .changed
                .wait_timeout_while(guard, left.min(FENCE_RETRY), |state| {
                    !state.ended && state.awaited.contains(&cookie)
                })
                .unwrap_or_else(PoisonError::into_inner);
            if !guard.awaited.contains(&cookie) {
                return Ok(());
            }
            if guard.ended {
                return Err(TraceError::Stopped { scope });
            }
            if start.elapsed() >= timeout {
                return Err(TraceError::FenceTimeout { scope, waited_ms: start.elapsed().as_millis() });
            }
        }
    }

    /// Everything so far, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        lock(&self.log.state).events.clone()
    }

    /// The first event, past or to come, that `pred` accepts; `None` when there is none within `timeout`.
    /// `pred` sees every event once and must not call back into the scope.
    pub fn wait_for(&self, timeout: Duration, mut pred: impl FnMut(&Event) -> bool) -> Option<Event> {
        let deadline = Instant::now() + timeout;
        let mut looked_at = 0;
        let mut state = lock(&self.log.state);
        loop {
            while let Some(event) = state.events.get(looked_at) {
                looked_at += 1;
                if pred(event) {
                    return Some(event.clone());
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.ended {
                return None;
            }
            let nothing_new = |state: &mut LogState| !state.ended && state.events.len() == looked_at;
            state = self
                .log
                .changed
                .wait_timeout_while(state, left, nothing_new)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Takes what has come since the last call, in order; waits for something until `timeout`. What was taken is no longer in
    /// [`Scope::events`]. Empty when nothing came, or nothing more will.
    #[must_use]
    pub fn take(&self, timeout: Duration) -> Vec<Event> {
        let nothing_new = |state: &mut LogState| !state.ended && state.events.is_empty();
        let mut state = self
            .log
            .changed
            .wait_timeout_while(lock(&self.log.state), timeout, nothing_new)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        std::mem::take(&mut state.events)
    }

    /// Records of this scope that were lost, and runs of any probe that the kernel skipped while it was open. While it is
    /// not 0, the absence of an event proves nothing.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost_records().saturating_add(self.shared.missed.since(self.missed_before))
    }

    fn lost_records(&self) -> u64 {
        let malformed = lock(&self.log.state).malformed;
        self.shared.lost_in_kernel(self.id).saturating_add(malformed)
    }
}

/// Start time of a process, rounded down to a tick.
fn start_ns(tgid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{tgid}/stat"))?;
    // Field 22 of proc_pid_stat(5); the name before field 3 may contain anything.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: Option<u64> = after_name.split(' ').nth(19).and_then(|ticks| ticks.parse().ok());
    ticks
        .map(|ticks| ticks.saturating_mul(START_TICK_NS))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no start time in it"))
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.shared.close_scope(self.id, self.lost_records());
    }
}
