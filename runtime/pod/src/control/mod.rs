//! The requests that a supervisor takes, one per connection: a line of JSON each way over a Unix stream socket.

pub mod client;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::status::PodStatus;

/// Name of the socket in the pod's directory.
pub const SOCKET: &str = "control.sock";
/// The longest request in bytes.
pub const REQUEST_MAX: usize = 4096;

/// What a command wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Start the containers of a created pod, once; answered as soon as every main container has been started, or one fails again
    /// and again.
    Start,
    /// Tell when nothing of the pod runs any more.
    WaitFinished,
    /// End all containers in order, then the sandbox; answered when that is done.
    Stop {
        /// In place of the pod's grace period.
        grace_period: Option<Duration>,
    },
}

impl Request {
    /// True for one that only waits.
    #[must_use]
    pub fn is_wait(&self) -> bool {
        matches!(self, Self::WaitFinished)
    }
}

/// What a supervisor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is so.
    Status(PodStatus),
    /// It cannot be.
    Refused(String),
}
