//! What the measuring program prints, one JSON object a line. It and the program that computes the medians both compile
//! this file.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Case {
    /// `run` of a program that only ends: create, start, wait, delete.
    RunTrue,
    /// `create` of a container.
    Create,
    /// `start` of it.
    Start,
    /// `exec` of a program that only ends, in a container that runs.
    Exec,
    /// `delete` of a container whose process has ended.
    Delete,
    /// `create` and `start` of a sandbox and of two containers that join its network, ipc and uts namespaces.
    Sandbox,
}

/// One line of the measuring program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(crate) enum Record {
    /// Once, first.
    Machine { kernel: String, cpu: String, n_cpus: usize },
    /// One subject's turn in a round.
    Time { case: Case, subject: String, round: u32, ns: u64 },
    /// The subject cannot do this here; what was measured of it before does not count.
    Unavailable { case: Case, subject: String, reason: String },
    /// `create` and `start` of a container while so many others of the subject run.
    Growth { subject: String, others: u32, ns: u64 },
    /// The subject cannot run so many.
    GrowthUnavailable { subject: String, reason: String },
    /// A `run` of a program that only ends, traced: its events from the exec of the runtime on, as
    /// `podproof trace --format json` writes them.
    Trace { subject: String, round: u32, events: Vec<Value> },
    /// The subject cannot be traced here; what was traced of it before does not count.
    TraceUnavailable { subject: String, reason: String },
    /// A program that holds a sandbox: its file, and the memory of a process of it (`Rss` and private of smaps_rollup).
    Pause { program: String, file_bytes: u64, resident_bytes: u64, private_bytes: u64 },
}
