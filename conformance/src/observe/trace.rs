//! The kernel's trace of one cell: questions that checks ask of it, and its words for people.

use std::collections::BTreeSet;

use podproof_ebpf::event::{
    Creds, Event, EventKind, NsKind, NsSet, ReapSource, SignalAction, SignalResult, TaskRef, TaskView,
};
use serde_json::Value;

/// All events of a scope up to a fence.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// In the order of the ring.
    pub events: Vec<Event>,
    /// Records that the ring had no room for.
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

/// A line for people.
#[must_use]
pub fn words(event: &Event) -> String {
    let who = format!("{} {}", event.comm, event.current.tgid);
    let what = match &event.kind {
        EventKind::NewTask { child, flags, .. } if flags & CLONE_THREAD != 0 => {
            format!("{who} starts thread {}", child.task.tid)
        }
        EventKind::NewTask { child, flags, .. } => {
            format!("{who} clones {}{}{}", child.task.tgid, numbers(&child.ns_pids), namespaces_of(*flags))
        }
        EventKind::CloneFailed { flags, errno } => {
            format!("{who} cannot clone{}: {}", namespaces_of(*flags), errno_name(*errno))
        }
        EventKind::Exec { task, filename, creds, .. } => format!(
            "{} executes {filename}{} as uid {}{}",
            task.task.tgid,
            numbers(&task.ns_pids),
            creds.uid,
            inodes(&task.ns)
        ),
        EventKind::Exit { task, status, group_dead, .. } => {
            let part = if *group_dead { "" } else { " (other threads go on)" };
            format!("{who} ends{}{}{part}", numbers(&task.ns_pids), wait_status(*status))
        }
        EventKind::ZombieStart { task, parent, .. } => {
            format!("{} is a zombie, its parent {} was told", task.tgid, parent.tgid)
        }
        EventKind::Reap { task, by, .. } => {
            let how = if event.current.tgid == task.tgid { "the kernel itself".to_owned() } else { who };
            let source = match by {
                ReapSource::ReleaseTask => "",
                ReapSource::Wait => " (seen at the wait call)",
            };
            format!("{how} reaps {}{source}", task.tgid)
        }
        EventKind::Free { task } => format!("task {} is freed", task.tid),
        EventKind::Reparent { task, from, to } => {
            format!("{} was adopted: {} instead of {}", task.tgid, to.tgid, from.tgid)
        }
        EventKind::SignalGenerate { signal, target, target_ns_pids, result, .. } => {
            let became = match result {
                SignalResult::Delivered => "delivered",
                SignalResult::Ignored => "ignored",
                SignalResult::AlreadyPending => "pending already",
                SignalResult::OverflowFail => "refused, queue full",
                SignalResult::LoseInfo => "delivered without its details",
            };
            format!("{who} sends signal {signal} to {}{}: {became}", target.tgid, numbers(target_ns_pids))
        }
        EventKind::SignalDeliver { signal, action, .. } => {
            let action = match action {
                SignalAction::Default => "default action",
                SignalAction::Ignore => "ignored",
                SignalAction::Handler => "its handler",
            };
            format!("{who} takes signal {signal}: {action}")
        }
        EventKind::OomVictim { task, cgroup_id, .. } => {
            format!("the OOM killer takes {} in cgroup {cgroup_id}", task.tgid)
        }
        EventKind::CgroupMkdir { id, path, .. } => format!("{who} makes cgroup {path} (id {id})"),
        EventKind::CgroupRmdir { id, path, .. } => format!("{who} removes cgroup {path} (id {id})"),
        EventKind::CgroupAttach { path, task, .. } => format!("{who} moves {} to cgroup {path}", task.tgid),
        EventKind::Setns { nstype, ret, before, after, .. } => {
            format!("{who} setns(type {nstype:#x}){}{}", result(*ret), changes(before, after))
        }
        EventKind::Unshare { flags, ret, before, after } => {
            format!("{who} unshares{}{}{}", namespaces_of(*flags), result(*ret), changes(before, after))
        }
        EventKind::Mount { from, target, fstype, ret, .. } => {
            format!("{who} mounts {fstype} {from} on {target}{}", result(*ret))
        }
        EventKind::Umount { target, ret, .. } => format!("{who} unmounts {target}{}", result(*ret)),
        EventKind::PivotRoot { new_root, put_old, ret, .. } => {
            format!("{who} pivots its root to {new_root}, the old one to {put_old}{}", result(*ret))
        }
        EventKind::Shmget { key, ret, ipc_ns, .. } => {
            format!(
                "{who} shmget(key {key:#x}){} in ipc namespace {}",
                result(*ret),
                ipc_ns.unwrap_or_default()
            )
        }
        EventKind::Shmat { id, ret, .. } => format!("{who} shmat({id}){}", result(*ret)),
        other => format!("{who} {other:?}"),
    };
    format!("{:>12.6} {what}  [{}]", seconds(event.time_ns), event.source)
}

fn seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}

fn numbers(ns_pids: &[u32]) -> String {
    match ns_pids {
        [] | [_] => String::new(),
        [_, inner @ ..] => {
            let inner: Vec<String> = inner.iter().map(ToString::to_string).collect();
            format!(" (inside {})", inner.join("/"))
        }
    }
}

/// The namespaces that are not the machine's first ones, which the kernel numbers from `PROC_DYNAMIC_FIRST` down.
fn inodes(ns: &NsSet) -> String {
    const FIRST_DYNAMIC: u32 = 0xF000_0000;
    NsKind::ALL
        .into_iter()
        .filter(|kind| !matches!(kind, NsKind::PidForChildren | NsKind::TimeForChildren))
        .filter_map(|kind| Some((kind, ns.get(kind).filter(|inode| *inode >= FIRST_DYNAMIC)?)))
        .map(|(kind, inode)| format!(" {kind}:{inode}"))
        .collect()
}

fn changes(before: &NsSet, after: &NsSet) -> String {
    NsKind::ALL
        .into_iter()
        .filter(|kind| before.get(*kind) != after.get(*kind))
        .map(|kind| {
            let show = |inode: Option<u32>| inode.map_or_else(|| "?".to_owned(), |inode| inode.to_string());
            format!(" {kind}: {} -> {}", show(before.get(kind)), show(after.get(kind)))
        })
        .collect()
}

/// The namespace bits of clone flags, by their names in `/proc/PID/ns`.
fn namespaces_of(flags: u64) -> String {
    const BITS: [(u64, &str); 8] = [
        (0x0002_0000, "mnt"),
        (0x0400_0000, "uts"),
        (0x0800_0000, "ipc"),
        (0x4000_0000, "net"),
        (0x2000_0000, "pid"),
        (0x0200_0000, "cgroup"),
        (0x1000_0000, "user"),
        (0x0000_0080, "time"),
    ];
    let new: Vec<&str> = BITS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    if new.is_empty() { String::new() } else { format!(" with new {}", new.join(" ")) }
}

fn wait_status(status: u32) -> String {
    let signal = status & 0x7f;
    if signal == 0 { format!(" with code {}", (status >> 8) & 0xff) } else { format!(" by signal {signal}") }
}

fn result(ret: i64) -> String {
    if ret < 0 { format!(": {}", errno_name(i32::try_from(-ret).unwrap_or_default())) } else { String::new() }
}

fn errno_name(errno: i32) -> String {
    nix::errno::Errno::from_raw(errno).to_string()
}

/// An inode as a JSON value, absent when the kernel gave none.
#[must_use]
pub fn inode(ns: Option<u32>) -> Option<Value> {
    ns.map(Value::from)
}
