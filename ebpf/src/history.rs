//! What one scope remembers of its processes, to name a child that a record gives only by number and to notice a new parent.

use std::collections::HashMap;

use podproof_abi::{MAX_LEVELS, TaskView};

use crate::event::TaskRef;

/// A number as one pid namespace sees it: inode of the namespace, number.
type Seen = (u32, u32);

/// A process that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) task: TaskRef,
    pub(crate) ns_pids: Vec<u32>,
    /// Thread group of its parent at the end of its leader.
    pub(crate) parent_tgid: u32,
    /// Thread group of its tracer at that moment; 0 without one.
    pub(crate) tracer_tgid: u32,
    /// Its release was seen exactly, so that the return of a wait adds nothing.
    released: bool,
}

/// Births and ends, in the order of the ring.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By thread group id: the process, and its parent when it was last seen.
    born: HashMap<u32, (TaskRef, TaskRef)>,
    ended: HashMap<Seen, Ended>,
    /// Zombies, and when their parent was told, on the clock of the records.
    zombies: HashMap<TaskRef, u64>,
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
        for key in seen(view) {
            self.ended.remove(&key);
        }
        self.zombies.retain(|task, _since| task.tgid != view.task.tgid);
        self.born.insert(view.task.tgid, (task_ref(view.task), task_ref(view.parent)));
    }

    /// The leader of a process ended; other threads of it may live on.
    pub(crate) fn leader_ended(&mut self, view: &TaskView, tracer_tgid: u32) {
        let ended = Ended {
            task: task_ref(view.task),
            ns_pids: numbers(&view.nr, view.level),
            parent_tgid: view.parent.tgid,
            tracer_tgid,
            released: false,
        };
        for key in seen(view) {
            self.ended.insert(key, ended.clone());
        }
    }

    /// A program was executed. If another thread than the leader did it, the leader has ended, and the thread has taken
    /// over its numbers. Returns the process and its parent before, when it has another one.
    pub(crate) fn executed(&mut self, view: &TaskView) -> Option<(TaskRef, TaskRef)> {
        for key in seen(view) {
            self.ended.remove(&key);
        }
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
        self.zombies.entry(task).or_insert(time_ns);
    }

    /// A zombie is no more. Returns how long it was one, if its start was seen.
    pub(crate) fn reaped(&mut self, task: TaskRef, time_ns: u64) -> Option<u64> {
        Some(time_ns.saturating_sub(self.zombies.remove(&task)?))
    }

    /// A process was released.
    pub(crate) fn released(&mut self, task: TaskRef) {
        for ended in self.ended.values_mut().filter(|ended| ended.task == task) {
            ended.released = true;
        }
    }

    /// The ended process that a namespace knows by this number.
    pub(crate) fn by_number(&self, pid_ns: u32, nr: u32) -> Option<&Ended> {
        self.ended.get(&(pid_ns, nr))
    }
}

impl Ended {
    /// Whether its exact release is in the stream.
    pub(crate) fn is_released(&self) -> bool {
        self.released
    }
}
