//! What is known of a pod that was begun: the words and the phases of the Kubernetes API (`PodStatus`, `ContainerStatus`).

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not all init containers have ended yet, or a main container has not been started yet.
    Pending,
    /// All main containers have been started once, and one runs or will run again.
    Running,
    /// All main containers ended with 0 and will not be started again.
    Succeeded,
    /// All main containers ended, one of them not with 0, or an init container failed, or the pod's deadline passed.
    Failed,
}

/// A pod's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    /// Phase.
    pub phase: Phase,
    /// Why, where the containers do not tell: `DeadlineExceeded`, `Evicted`, `SandboxEnded`.
    pub reason: Option<String>,
    /// The same for people.
    pub message: Option<String>,
    /// Of each container, in the order of the specification.
    pub containers: Vec<ContainerStatus>,
}

/// A container's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Name.
    pub name: String,
    /// What it does now.
    pub state: ContainerState,
    /// How it ended the time before this.
    pub last_termination: Option<Termination>,
    /// How often it was started again.
    pub restart_count: u32,
    /// It runs, and its postStart hook has ended.
    pub is_ready: bool,
}

/// A container's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// It is not running yet, or not again yet.
    Waiting {
        /// `PodInitializing`, `ContainerCreating`, `CrashLoopBackOff`, or why its start failed: `RunContainerError`,
        /// `CreateContainerError`, `CreateContainerConfigError`.
        reason: String,
        /// More for people, or empty.
        message: String,
    },
    /// It runs.
    Running {
        /// Since when.
        started_at: SystemTime,
    },
    /// It has ended.
    Terminated(Termination),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Termination {
    /// Exit code, 128 + n for signal n; 128 when it could not be started. `None` when nobody was there to learn it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub reason: String,
    /// The termination message, or what could not be started; may be empty. Before it, a line for each hook that failed:
    /// `PostStartHookError: WHY` or `PreStopHookError: WHY`.
    pub message: String,
    /// When it was started; `None` when it was not.
    pub started_at: Option<SystemTime>,
    /// When it ended.
    pub finished_at: SystemTime,
}

/// What a container has chosen, such as the name of a process; it must not write to the terminal by itself.
#[must_use]
pub fn printable(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}
