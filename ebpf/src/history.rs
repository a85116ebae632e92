//! What one scope remembers of its processes, to name a child that a record gives only by number, to notice a new parent, and
//! to know how long a zombie was one.

use std::collections::{HashMap, VecDeque};

use podproof_abi::{MAX_LEVELS, TaskView};

use crate::event::TaskRef;

/// Freed processes that are remembered.
const KEPT_FREED: usize = 4096;

/// A number as one pid namespace sees it: inode of the namespace, number.
type Seen = (u32, u32);

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) task: TaskRef,
    pub(crate) ns_pids: Vec<u32>,
    seen: Vec<Seen>,
    /// Thread group of its parent at the end of its leader.
    pub(crate) parent_tgid: u32,
    /// Thread group of its tracer at that moment; 0 without one.
    pub(crate) tracer_tgid: u32,
}

/// Births and ends, in the order of the ring. All maps are by thread group id in the initial namespace.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The process, and its parent when it was last seen.
    born: HashMap<u32, (TaskRef, TaskRef)>,
    ended: HashMap<u32, Ended>,
    /// Which process that has ended a namespace knows by a number.
    numbers: HashMap<Seen, u32>,
    /// Zombies, and when their parent was told, on the clock of the records.
    zombies: HashMap<u32, (TaskRef, u64)>,
    /// Processes whose exact release was seen, so that the return of a wait adds nothing; with their start.
    released: HashMap<u32, u64>,
    /// The last ones that were freed, oldest first.
    freed: VecDeque<TaskRef>,
}

pub(crate) fn task_ref(id: podproof_abi::TaskId) -> TaskRef {
    TaskRef { tid: id.tid, tgid: id.tgid, start_ns: id.start_ns }
}

/// Numbers by level, outermost first.
pub(crate) fn numbers(nr: &[u32; MAX_LEVELS], level: u32) -> Vec<u32> {
    nr.iter().take(level as usize + 1).copied().collect()
}

fn seen(view: &TaskView) -> impl Iterator<Item = Seen> {
    view.pid_ns.iter().copied().zip(view.nr).take(view.level as usize + 1)
}

impl History {
    /// A process was born. Its numbers belong to nobody else any more.
    pub(crate) fn born(&mut self, view: &TaskView) {
        let tgid = view.task.tgid;
        for key in seen(view) {
            self.numbers.remove(&key);
        }
        self.ended.remove(&tgid);
        self.zombies.remove(&tgid);
        self.released.remove(&tgid);
        self.born.insert(tgid, (task_ref(view.task), task_ref(view.parent)));
    }

    /// The leader of a process ended; other threads of it may live on.
    pub(crate) fn leader_ended(&mut self, view: &TaskView, tracer_tgid: u32) {
        let ended = Ended {
            task: task_ref(view.task),
            ns_pids: numbers(&view.nr, view.level),
            seen: seen(view).collect(),
            parent_tgid: view.parent.tgid,
            tracer_tgid,
        };
        self.numbers.extend(seen(view).map(|key| (key, view.task.tgid)));
        self.ended.insert(view.task.tgid, ended);
    }

    /// A program was executed. If another thread than the leader did it, the leader has ended, and the thread has taken
    /// over its numbers. Returns the process and its parent before, when it has another one.
    pub(crate) fn executed(&mut self, view: &TaskView) -> Option<(TaskRef, TaskRef)> {
        for key in seen(view) {
            self.numbers.remove(&key);
        }
        self.ended.remove(&view.task.tgid);
        let (process, parent) = self.born.get_mut(&view.task.tgid)?;
        let before = std::mem::replace(parent, task_ref(view.parent));
        (before.tgid != view.parent.tgid).then_some((*process, before))
    }

    /// The last thread of a process ended. Returns the process and its parent before, when it has another one.
    pub(crate) fn group_ended(&mut self, view: &TaskView) -> Option<(TaskRef, TaskRef)> {
        let (process, parent) = self.born.remove(&view.task.tgid)?;
        (parent.tgid != view.parent.tgid).then_some((process, parent))
    }

    /// A parent was told of the end of its child: a zombie from here on, unless it was one already.
    pub(crate) fn zombie(&mut self, task: TaskRef, time_ns: u64) {
        let known = self.zombies.entry(task.tgid).or_insert((task, time_ns));
        if known.0 != task {
            *known = (task, time_ns);
        }
    }

    /// Whether the parent was told of the end of this process, and it was not reaped yet.
    pub(crate) fn is_zombie(&self, task: TaskRef) -> bool {
        self.zombies.get(&task.tgid).is_some_and(|(zombie, _since)| *zombie == task)
    }

    /// A process was released.
    pub(crate) fn released(&mut self, task: TaskRef) {
        self.released.insert(task.tgid, task.start_ns);
    }

    /// A zombie is no more. Returns how long it was one, if its start was seen.
    pub(crate) fn reaped(&mut self, task: TaskRef, time_ns: u64) -> Option<u64> {
        let (zombie, since) = self.zombies.remove(&task.tgid)?;
        (zombie == task).then(|| time_ns.saturating_sub(since))
    }

    /// The ended process that a namespace knows by this number.
    pub(crate) fn by_number(&self, pid_ns: u32, nr: u32) -> Option<&Ended> {
        self.ended.get(self.numbers.get(&(pid_ns, nr))?)
    }

    /// A process was freed. It is forgotten some time later: a wait that took it may return late.
    pub(crate) fn freed(&mut self, task: TaskRef) {
        self.freed.push_back(task);
        if self.freed.len() <= KEPT_FREED {
            return;
        }
        let Some(task) = self.freed.pop_front() else { return };
        // Who has the number now is a younger one, unless it is known as the freed one still.
        if self.ended.get(&task.tgid).is_some_and(|ended| ended.task == task)
            && let Some(ended) = self.ended.remove(&task.tgid)
        {
            for key in ended.seen {
                if self.numbers.get(&key) == Some(&task.tgid) {
                    self.numbers.remove(&key);
                }
            }
        }
        if self.zombies.get(&task.tgid).is_some_and(|(zombie, _since)| *zombie == task) {
            self.zombies.remove(&task.tgid);
        }
        if self.released.get(&task.tgid) == Some(&task.start_ns) {
            self.released.remove(&task.tgid);
        }
    }

    /// Whether the exact release of this process is in the stream.
    pub(crate) fn is_released(&self, tgid: u32) -> bool {
        self.released.contains_key(&tgid)
    }
}
