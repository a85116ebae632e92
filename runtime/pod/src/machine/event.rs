//! What goes into the decisions and what comes out of them.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// The time of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since any fixed point that does not jump; deadlines count in it.
    pub monotonic: Duration,
    /// Time of day, for the status only.
    pub wall: SystemTime,
}

/// What can be set for all pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Wait before the second restart of a container in a row (10 s); doubles with each. The first restart waits for nothing.
    pub backoff_base: Duration,
    /// The longest wait (5 min).
    pub backoff_max: Duration,
    /// A container that ran longer than this is restarted as if it were the first time (10 min).
    pub backoff_reset: Duration,
}

/// A hook of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `lifecycle.postStart`.
    PostStart,
    /// `lifecycle.preStop`.
    PreStop,
}

/// How a container's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, 128 + n for signal n.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel's OOM killer ended a process of the container.
    pub is_oom: bool,
    /// The termination message; may be empty.
    pub message: String,
}

/// What happened. Containers are named by their index in the specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The sandbox is there: begin.
    Begin,
    /// The program of a container was executed.
    Started(usize),
    /// A container could not be created or started. Nothing of it is left.
    NotStarted {
        /// Which.
        container: usize,
        /// `RunContainerError` counts as a run that ended with 128, so the restart policy decides. With any other
        /// (`CreateContainerError`, `CreateContainerConfigError`) there never was a container, and it is tried again whatever the
        /// policy.
        reason: String,
        /// Why.
        message: String,
    },
    /// The process of a container ended, and nothing of the container is left.
    Ended(usize, Exit),
    /// A hook has ended, or could not be run.
    HookEnded {
        /// Of which container.
        container: usize,
        /// Which.
        hook: Hook,
        /// Why it failed.
        failure: Option<String>,
    },
    /// Somebody wants the pod to end.
    Stop {
        /// In place of the pod's grace period; zero kills at once, without hooks. A second stop can shorten the time that is left,
        /// never lengthen it.
        grace_period: Option<Duration>,
    },
    /// The pod broke a limit and must fail, soon.
    Evict {
        /// What for.
        message: String,
    },
    /// The sandbox's process ended by itself.
    SandboxEnded,
    /// A deadline ([`Machine::deadline`](super::Machine::deadline)) may have passed.
    Tick,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Create and start a container; answered by `Started` or `NotStarted`.
    Start(usize),
    /// Run a hook in a container; answered by `HookEnded`.
    Run(usize, Hook),
    /// Give up a hook that runs; answered by nothing, so no `HookEnded` of it may follow.
    Abandon(usize, Hook),
    /// Send the container's stop signal to its process; answered by `Ended` some time.
    Signal(usize),
    /// Kill all processes of a container; answered by `Ended`.
    Kill(usize),
    /// End the sandbox: no container is left, and none will be started.
    Finish,
}
