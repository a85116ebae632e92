//! The kernel's trace of one cell: questions that checks ask of it.

use std::collections::BTreeSet;

use podproof_ebpf::event::{Creds, Event, EventKind, ReapSource, SignalResult, TaskRef, TaskView};
use serde_json::Value;

/// All events of a scope up to a fence.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// In the order of the ring.
    pub events: Vec<Event>,
    /// Records that were lost; `u64::MAX` when their number is not known.
    pub lost: u64,
}

/// An exec, taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Exec<'t> {
    /// The record.
    pub event: &'t Event,
    /// The task after the exec.
    pub task: &'t TaskView,
    /// Path of the program.
    pub filename: &'t str,
    /// Its credentials.
    pub creds: &'t Creds,
}

/// The end of a task, taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Exit<'t> {
    /// The record.
    pub event: &'t Event,
    /// The task at its end.
    pub task: &'t TaskView,
    /// Wait status.
    pub status: u32,
    /// It was the last of its group.
    pub group_dead: bool,
}

/// A creation, taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Birth<'t> {
    /// The record.
    pub event: &'t Event,
    /// The new task.
    pub child: &'t TaskView,
    /// `CLONE_*`.
    pub flags: u64,
}

/// A signal, taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'t> {
    /// The record; its current task is the sender.
    pub event: &'t Event,
    /// Number.
    pub signal: u32,
    /// Receiver.
    pub target: TaskRef,
    /// What became of it.
    pub result: SignalResult,
}

/// The process (not a thread of one) that the record says was released, by its number on the node.
#[must_use]
pub fn released(event: &Event) -> Option<u32> {
    match &event.kind {
        EventKind::Reap { task, .. } | EventKind::Free { task } if task.tid == task.tgid => Some(task.tgid),
        _ => None,
    }
}

/// `CLONE_THREAD` (clone(2)).
pub const CLONE_THREAD: u64 = 0x0001_0000;

impl Trace {
    /// All execs.
    pub fn execs(&self) -> impl DoubleEndedIterator<Item = Exec<'_>> {
        self.events.iter().filter_map(|event| match &event.kind {
            EventKind::Exec { task, filename, creds, .. } => Some(Exec { event, task, filename, creds }),
            _ => None,
        })
    }

    /// The last exec of this program by this process.
    #[must_use]
    pub fn exec_of(&self, tgid: i32, program: &str) -> Option<Exec<'_>> {
        self.execs().rev().find(|exec| is(exec.task.task, tgid) && exec.filename == program)
    }

    /// All creations of processes and threads.
    pub fn births(&self) -> impl DoubleEndedIterator<Item = Birth<'_>> {
        self.events.iter().filter_map(|event| match &event.kind {
            EventKind::NewTask { child, flags, .. } => Some(Birth { event, child, flags: *flags }),
            _ => None,
        })
    }

    /// All ends of tasks.
    pub fn exits(&self) -> impl DoubleEndedIterator<Item = Exit<'_>> {
        self.events.iter().filter_map(|event| match &event.kind {
            EventKind::Exit { task, status, group_dead, .. } => {
                Some(Exit { event, task, status: *status, group_dead: *group_dead })
            }
            _ => None,
        })
    }

    /// The end of a process: of the last thread of its group.
    #[must_use]
    pub fn end_of(&self, tgid: i32) -> Option<Exit<'_>> {
        self.exits().find(|exit| exit.group_dead && is(exit.task.task, tgid))
    }

    /// Processes that were created and have not ended.
    #[must_use]
    pub fn living(&self) -> Vec<Birth<'_>> {
        let ended: BTreeSet<u32> =
            self.exits().filter(|exit| exit.group_dead).map(|exit| exit.task.task.tgid).collect();
        let is_process = |task: TaskRef| task.tid == task.tgid;
        self.births()
            .filter(|birth| is_process(birth.child.task) && !ended.contains(&birth.child.task.tgid))
            .collect()
    }

    /// Signals generated for a process.
    pub fn signals_to(&self, tgid: i32) -> impl DoubleEndedIterator<Item = Sent<'_>> {
        self.events.iter().filter_map(move |event| match &event.kind {
            EventKind::SignalGenerate { signal, target, result, .. } if is(*target, tgid) => {
                Some(Sent { event, signal: *signal, target: *target, result: *result })
            }
            _ => None,
        })
    }

    /// The first release of a process, preferring the exact source.
    #[must_use]
    pub fn reap_of(&self, tgid: u32) -> Option<(&Event, ReapSource)> {
        let reaps = || {
            self.events.iter().filter_map(move |event| match &event.kind {
                EventKind::Reap { task, by, .. } if task.tgid == tgid && task.tid == tgid => {
                    Some((event, *by))
                }
                _ => None,
            })
        };
        reaps().find(|(_, by)| *by == ReapSource::ReleaseTask).or_else(|| reaps().next())
    }
}

/// Whether the task belongs to the process with this number.
#[must_use]
pub fn is(task: TaskRef, tgid: i32) -> bool {
    i32::try_from(task.tgid) == Ok(tgid)
}

/// An inode as a JSON value, absent when the kernel gave none.
#[must_use]
pub fn inode(ns: Option<u32>) -> Option<Value> {
    ns.map(Value::from)
}
