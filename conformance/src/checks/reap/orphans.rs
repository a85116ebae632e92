//! Orphans: made by a witness, told from each other by the kernel's record of their births.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use podproof_ebpf::event::EventKind;
use podproof_witness::{Command, ListedProcess};

use crate::cell::{Cell, Container, Obstacle};
use crate::checks::facts;
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::Finding;
use crate::observe::trace::{CLONE_THREAD, Trace, is};

/// How long a sandbox program may leave a zombie.
const PATIENCE_SECONDS: f64 = 2.0;

/// Orphans that are to die together.
#[derive(Debug)]
pub(in crate::checks) struct Orphans {
    /// Their numbers in the witness's PID namespace.
    pub(in crate::checks) inner: Vec<u32>,
    /// Their thread groups on the node.
    pub(in crate::checks) outer: BTreeSet<u32>,
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
    /// From the end of each to its release.
    pub(super) delays: Vec<Duration>,
    /// Those that were given to a new parent while they lived, by its number on the node.
    pub(super) adopted: BTreeMap<u32, u32>,
}

/// The processes that a container's `/proc` lists.
pub(super) fn listed(cell: &Cell<'_>, container: &mut Container) -> Result<Vec<ListedProcess>, Obstacle> {
    Ok(container.witness()?.ask_as(Command::Processes, cell.deadline(10.0))?)
}

/// The number of zombies that a container's `/proc` lists, when there are none any more or the patience is over.
pub(super) fn zombies(cell: &Cell<'_>, container: &mut Container) -> Result<u64, Obstacle> {
    let patience = cell.deadline(PATIENCE_SECONDS);
    let timeout_ms = millis(patience);
    let wait = Command::WaitZombies { at_most: 0, timeout_ms };
    Ok(container.witness()?.ask_as(wait, patience + cell.deadline(5.0))?)
}

/// The kernel's rule of one orphan: it ends, and the sandbox process, or the kernel for it, releases it. `whom` names it to people.
pub(super) fn released(side: &Side<'_>, whom: &str) -> Result<Finding, Gap> {
    let reaper = reaper(side, whom)?;
    Ok(Finding::new(
        is_released(reaper),
        format!("{whom} is reaped by pause, or by the kernel itself"),
        format!("it is reaped by {reaper}"),
    ))
}

/// The same of one that is born below another parent: the sandbox process has adopted it before. `by` names that to people.
pub(super) fn adopted_and_released(side: &Side<'_>, whom: &str, by: &str) -> Result<Finding, Gap> {
    let (reaper, adopted) = (reaper(side, whom)?, side.flag("adopted")?);
    let was = if adopted { "adopted" } else { "not adopted" };
    Ok(Finding::new(
        adopted && is_released(reaper),
        format!("{whom} is adopted by {by}, and reaped by it or by the kernel itself"),
        format!("it is {was} by {by} and reaped by {reaper}"),
    ))
}

/// Who released the orphan, once it has ended.
fn reaper<'s>(side: &Side<'s>, whom: &str) -> Result<&'s str, Gap> {
    if side.number("ended")? != 1 {
        return Err(Gap(format!("the end of {whom}")));
    }
    side.text("reaper")
}

/// By the sandbox process, or by the kernel for it: a name of [`Fates::reaper`].
fn is_released(reaper: &str) -> bool {
    reaper == "pause" || reaper == "the kernel"
}

impl Fates {
    /// Who released the only orphan: `pause` (the process with this number), `the kernel`, `nobody`, or another one.
    fn reaper(&self, pause: i32) -> String {
        match self.reaped.values().next() {
            None => "nobody".to_owned(),
            Some(Reaper::Kernel) => "the kernel".to_owned(),
            Some(Reaper::Process(tgid)) if i32::try_from(*tgid) == Ok(pause) => "pause".to_owned(),
            Some(Reaper::Process(tgid)) => format!("process {tgid}"),
        }
    }

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
    pub(in crate::checks) fn make(
        cell: &Cell<'_>,
        container: &mut Container,
        count: u32,
    ) -> Result<Self, Obstacle> {
        Self::made_by(cell, container, Command::MakeOrphans { count })
    }

    /// Has a witness make orphans by this command, whose value are their numbers.
    pub(super) fn made_by(
        cell: &Cell<'_>,
        container: &mut Container,
        command: Command,
    ) -> Result<Self, Obstacle> {
        let inner: Vec<u32> = container.witness()?.ask_as(command, cell.deadline(20.0))?;
        Self::found(&cell.trace()?, container, inner)
    }

    /// Finds orphans by the numbers that they have for the witness that made them.
    pub(super) fn found(trace: &Trace, container: &Container, inner: Vec<u32>) -> Result<Self, Obstacle> {
        let missing = |what: &str| Obstacle::Trace(format!("it lacks {what} of {}", container.name));
        let pid = container.outer_pid();
        let executed = trace.exec_of(pid, &container.program).and_then(|exec| exec.task.ns.pid);
        // A witness beside another program is executed by that one.
        let born =
            || trace.births().find(|birth| is(birth.child.task, pid)).and_then(|birth| birth.child.ns.pid);
        let space = executed.or_else(born).ok_or_else(|| missing("the exec"))?;
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

    /// The only orphan, among the processes that a container lists.
    pub(super) fn among<'l>(&self, listed: &'l [ListedProcess]) -> Option<&'l ListedProcess> {
        listed.iter().find(|process| self.inner.contains(&process.pid))
    }

    /// Their numbers on the node.
    pub(super) fn pids(&self) -> Vec<i32> {
        self.outer.iter().filter_map(|tgid| i32::try_from(*tgid).ok()).collect()
    }

    /// Lets them all end and waits until the last of them is a zombie or gone already.
    pub(in crate::checks) fn release(
        &self,
        cell: &Cell<'_>,
        container: &mut Container,
    ) -> Result<(), Obstacle> {
        container.witness()?.ask(Command::ReleaseOrphans, cell.deadline(5.0))?;
        self.await_ended(cell)
    }

    /// Waits until the last of them is a zombie or gone.
    pub(super) fn await_ended(&self, cell: &Cell<'_>) -> Result<(), Obstacle> {
        if cell.await_ends(&self.outer, cell.deadline(10.0))? {
            Ok(())
        } else {
            Err(Obstacle::Trace("it lacks the end of an orphan that was let go".to_owned()))
        }
    }

    /// Waits until all are released, at most this long. A release by the kernel itself may show late.
    pub(super) fn await_reaped(&self, cell: &Cell<'_>, timeout: Duration) -> Result<(), Obstacle> {
        cell.await_releases(&self.outer, timeout).map(|_released| ())
    }

    /// What became of them.
    pub(super) fn fates(&self, trace: &Trace) -> Fates {
        let mut fates = Fates::default();
        let (mut last_end, mut last_reap) = (0, 0);
        let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
        for event in &trace.events {
            match &event.kind {
                EventKind::Exit { task, group_dead: true, .. } if self.has(task.task.tgid) => {
                    fates.ended += 1;
                    last_end = event.time_ns;
                    ends.insert(task.task.tgid, event.time_ns);
                }
                EventKind::Reparent { task, to, .. } if self.has(task.tgid) => {
                    fates.adopted.insert(task.tgid, to.tgid);
                }
                EventKind::Reap { task, .. } if self.has(task.tgid) => {
                    let by_itself = event.current.tgid == task.tgid;
                    let by = if by_itself { Reaper::Kernel } else { Reaper::Process(event.current.tgid) };
                    if fates.reaped.insert(task.tgid, by).is_none() {
                        last_reap = event.time_ns;
                        let end = ends.get(&task.tgid).copied().unwrap_or(event.time_ns);
                        fates.delays.push(Duration::from_nanos(event.time_ns.saturating_sub(end)));
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

    /// Adds that the only orphan ended and who released it, and keeps what the report shows of that. `pause` is the sandbox process.
    pub(super) fn told_release(&self, evidence: &mut Evidence, trace: &Trace, pause: i32) {
        let fates = self.fates(trace);
        evidence.kernel("ended", fates.ended, "tp_btf/sched_process_exit");
        evidence.kernel("reaper", fates.reaper(pause), self.source_of_reaps(trace));
        facts::keep_trace(evidence, trace, |kind| self.concerns(kind, pause));
    }

    /// Adds whether this process adopted the only orphan.
    pub(super) fn told_adoption(&self, evidence: &mut Evidence, trace: &Trace, by: i32) {
        let adopted = self.fates(trace).adopted.values().any(|to| i32::try_from(*to) == Ok(by));
        let source = "tp_btf/sched_process_exit: its parent at the end, beside that at its birth";
        evidence.kernel("adopted", adopted, source);
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
    pub(in crate::checks) fn concerns(&self, kind: &EventKind, receiver: i32) -> bool {
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
