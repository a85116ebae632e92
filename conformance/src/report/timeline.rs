//! The life of a check's pod as numbers: processes, namespaces, cgroups and what happened to them, for drawings and trace viewers.
//!
//! It is bounded, so that a check that makes thousands of processes gives no report of gigabytes; what is left out is counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Processes of a timeline at most.
pub const MAX_TASKS: usize = 64;
/// Moments of a timeline at most.
pub const MAX_MARKS: usize = 200;
/// Characters of a text at most.
pub const MAX_TEXT: usize = 200;

/// Times are microseconds since the first event of the check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// `CLOCK_BOOTTIME` of the first event, microseconds.
    pub start_us: u64,
    /// Time of the last event.
    pub length_us: u64,
    /// Processes, in the order of their births.
    pub tasks: Vec<Task>,
    /// Namespaces that are not the node's own.
    pub namespaces: Vec<Namespace>,
    /// Cgroups of the v2 hierarchy that were made or removed.
    pub cgroups: Vec<Group>,
    /// Moments.
    pub marks: Vec<Mark>,
    /// Processes that had no place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted_tasks: u64,
    /// Moments that had no place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted_marks: u64,
}

/// A process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its number on the node.
    pub tgid: u32,
    /// Its number in its own pid namespace, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns_pid: Option<u32>,
    /// Who made it: index into `tasks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    /// Its birth.
    pub since_us: u64,
    /// It was there before the trace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_before: bool,
    /// What it executed.
    pub programs: Vec<Program>,
    /// Its end; absent while it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_us: Option<u64>,
    /// How it ended, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// It ended by a signal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub killed: bool,
    /// When it was reaped; from its end to there it is a zombie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaped_us: Option<u64>,
    /// Who reaped it, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaped: Option<String>,
    /// Its last known namespaces, by kind, as inodes.
    pub ns: BTreeMap<String, u32>,
}

/// A program that a process runs from this time on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Since when.
    pub since_us: u64,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// `net`, `pid`.
    pub kind: String,
    /// Its inode.
    pub inode: u32,
    /// First seen.
    pub since_us: u64,
    /// When the last process that was seen in it left it; absent while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_us: Option<u64>,
}

/// A cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Path from the root of the hierarchy.
    pub path: String,
    /// When it was made; absent when it was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_us: Option<u64>,
    /// When it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_us: Option<u64>,
    /// From when to when it had processes, in itself or below.
    pub populated: Vec<(u64, Option<u64>)>,
}

/// A moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    pub at_us: u64,
    /// `clone`, `exec`, `exit`, `reap`, `reparent`, `signal`, `cgroup`, `namespace`, `mount`, `ipc`, `oom`, `gap`.
    pub kind: String,
    /// Whose line it is on: index into `tasks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<usize>,
    /// Whom it is done to: index into `tasks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<usize>,
    /// Which cgroup: index into `cgroups`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<usize>,
    /// In words.
    pub text: String,
}

// serde gives a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A text of bounded length.
#[must_use]
pub fn bounded(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
