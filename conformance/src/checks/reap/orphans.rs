//! Orphans: made by a witness, told from each other by the kernel's record of their births.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use podproof_ebpf::event::{Event, EventKind};
use podproof_witness::Command;

use crate::cell::{Cell, Container, Obstacle};
use crate::observe::trace::{CLONE_THREAD, Trace, is};

/// Orphans that are to die together.
#[derive(Debug)]
pub(super) struct Orphans {
    /// Their numbers in the witness's PID namespace.
    pub(super) inner: Vec<u32>,
    /// Their thread groups on the node.
    outer: BTreeSet<u32>,
}

/// Who released an ended process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaper {
    /// The process with this number on the node.
    Process(u32),
    /// The kernel itself, because the parent ignores the ends of its children.
    Kernel,
}

/// What became of orphans, up to a fence.
#[derive(Debug, Default)]
pub(super) struct Fates {
    /// Orphans that ended.
    pub(super) ended: usize,
    /// Those that were released, by whom.
    pub(super) reaped: BTreeMap<u32, Reaper>,
    /// From the last end to the last release.
    pub(super) last_reap_after: Duration,
}

impl Fates {
    /// How many were released by this process or by the kernel itself.
    pub(super) fn n_reaped_by(&self, reaper: i32) -> usize {
        let by_it = |by: &&Reaper| match by {
            Reaper::Process(tgid) => i32::try_from(*tgid) == Ok(reaper),
            Reaper::Kernel => true,
        };
        self.reaped.values().filter(by_it).count()
    }

    /// How many the kernel released by itself.
    pub(super) fn n_auto_reaped(&self) -> usize {
        self.reaped.values().filter(|by| **by == Reaper::Kernel).count()
    }
}

impl Orphans {
    /// Has a witness make orphans, which wait.
    pub(super) fn make(cell: &Cell<'_>, container: &mut Container, count: u32) -> Result<Self, Obstacle> {
        let timeout = cell.deadline(20.0);
        let inner: Vec<u32> = container.witness()?.ask_as(Command::MakeOrphans { count }, timeout)?;
        let trace = cell.trace()?;
        let missing = |what: &str| Obstacle::Trace(format!("it lacks {what} of {}", container.name));
        let space = trace
            .exec_of(container.outer_pid(), &container.program)
            .and_then(|exec| exec.task.ns.pid)
            .ok_or_else(|| missing("the exec"))?;
        let born: BTreeMap<u32, u32> = trace
            .births()
            .filter(|birth| birth.flags & CLONE_THREAD == 0 && birth.child.ns.pid == Some(space))
            .filter_map(|birth| Some((birth.child.ns_pid()?, birth.child.task.tgid)))
            .collect();
        let outer: BTreeSet<u32> = inner.iter().filter_map(|number| born.get(number).copied()).collect();
        if outer.len() != inner.len() {
            return Err(missing("the birth of an orphan"));
        }
        Ok(Self { inner, outer })
    }

    /// Lets them all end and waits until the last of them is a zombie or gone already: what only ends (its
    /// `sched_process_exit`) is not listed as a zombie yet, and looks like none left.
    pub(super) fn release(&self, cell: &Cell<'_>, container: &mut Container) -> Result<(), Obstacle> {
        container.witness()?.ask(Command::ReleaseOrphans, cell.deadline(5.0))?;
        let mut awaited = self.outer.clone();
        let ended = |event: &Event| {
            if let EventKind::ZombieStart { task, .. }
            | EventKind::Reap { task, .. }
            | EventKind::Free { task } = &event.kind
            {
                awaited.remove(&task.tgid);
            }
            awaited.is_empty()
        };
        if cell.await_event(cell.deadline(10.0), ended)? {
            Ok(())
        } else {
            Err(Obstacle::Trace("it lacks the end of an orphan that was let go".to_owned()))
        }
    }

    /// Waits until all are released, at most this long. A release by the kernel itself may show late.
    pub(super) fn await_reaped(&self, cell: &Cell<'_>, timeout: Duration) -> Result<(), Obstacle> {
        let mut awaited = self.outer.clone();
        let reaped = |event: &Event| {
            if let EventKind::Reap { task, .. } | EventKind::Free { task } = &event.kind {
                awaited.remove(&task.tgid);
            }
            awaited.is_empty()
        };
        cell.await_event(timeout, reaped).map(|_reaped| ())
    }

    /// What became of them.
    pub(super) fn fates(&self, trace: &Trace) -> Fates {
        let mut fates = Fates::default();
        let (mut last_end, mut last_reap) = (0, 0);
        for event in &trace.events {
            match &event.kind {
                EventKind::Exit { task, group_dead: true, .. } if self.has(task.task.tgid) => {
                    fates.ended += 1;
                    last_end = event.time_ns;
                }
                EventKind::Reap { task, .. } if self.has(task.tgid) => {
                    let by_itself = event.current.tgid == task.tgid;
                    let by = if by_itself { Reaper::Kernel } else { Reaper::Process(event.current.tgid) };
                    if fates.reaped.insert(task.tgid, by).is_none() {
                        last_reap = event.time_ns;
                    }
                }
                // Gone without anybody who took it: the kernel's own work, where its hook is missing.
                EventKind::Free { task } if self.has(task.tgid) => {
                    fates.reaped.entry(task.tgid).or_insert_with(|| {
                        last_reap = event.time_ns;
                        Reaper::Kernel
                    });
                }
                _ => {}
            }
        }
        fates.last_reap_after = Duration::from_nanos(last_reap.saturating_sub(last_end));
        fates
    }

    /// Which hook showed the releases.
    pub(super) fn source_of_reaps(&self, trace: &Trace) -> String {
        let first = trace.events.iter().find(|event| match &event.kind {
            EventKind::Reap { task, .. } | EventKind::Free { task } => self.has(task.tgid),
            _ => false,
        });
        first.map_or_else(|| "no release up to the fence".to_owned(), |event| event.source.clone())
    }

    fn has(&self, tgid: u32) -> bool {
        self.outer.contains(&tgid)
    }

    /// Whether the event is about one of them, or a signal to this process.
    pub(super) fn concerns(&self, kind: &EventKind, receiver: i32) -> bool {
        match kind {
            EventKind::Exit { task, .. } => self.has(task.task.tgid),
            EventKind::ZombieStart { task, .. }
            | EventKind::Reap { task, .. }
            | EventKind::Free { task }
            | EventKind::Reparent { task, .. } => self.has(task.tgid),
            EventKind::NewTask { child, .. } => self.has(child.task.tgid),
            EventKind::SignalGenerate { target, .. } => is(*target, receiver),
            _ => false,
        }
    }
}
