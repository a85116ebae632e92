//! From events to the timeline of a report.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use podproof_ebpf::event::{Event, EventKind, NsKind, NsSet, TaskView};

use super::{Line, Machine, Narrator, is_detail, words};
use crate::observe::trace::CLONE_THREAD;
use crate::report::timeline::{
    Group, MAX_MARKS, MAX_TASKS, Mark, Namespace, Program, Task, Timeline, bounded,
};

/// Namespaces that a process is not in itself.
const FOR_CHILDREN: [NsKind; 2] = [NsKind::PidForChildren, NsKind::TimeForChildren];
/// Cgroups of a timeline at most.
const MAX_GROUPS: usize = 64;
/// Namespaces of a timeline at most.
const MAX_NAMESPACES: usize = 96;
/// The v2 hierarchy.
const V2: u32 = 0;

/// The timeline of these events; `node` are the inodes of the node's own namespaces.
#[must_use]
pub fn timeline(events: &[Event], node: &BTreeSet<u32>) -> Timeline {
    let first_ns = events.first().map_or(0, |event| event.time_ns);
    let mut narrator = Narrator::on(Machine::here());
    let mut drawn = Drawing {
        first_ns,
        node,
        timeline: Timeline { start_us: first_ns / 1000, ..Timeline::default() },
        by_tgid: HashMap::new(),
        groups: HashMap::new(),
    };
    for event in events {
        let line = narrator.tell(event);
        drawn.take(event, &line);
    }
    drawn.finish()
}

struct Drawing<'n> {
    first_ns: u64,
    node: &'n BTreeSet<u32>,
    timeline: Timeline,
    /// The task that has a number at present.
    by_tgid: HashMap<u32, usize>,
    groups: HashMap<u64, usize>,
}

impl Drawing<'_> {
    fn take(&mut self, event: &Event, line: &Line) {
        let now = event.time_ns.saturating_sub(self.first_ns) / 1000;
        self.timeline.length_us = self.timeline.length_us.max(now);
        let current = event.current.tgid;
        match &event.kind {
            EventKind::NewTask { child, flags, .. } if flags & CLONE_THREAD == 0 => {
                let parent = self.task(current, &event.comm, now);
                self.born(child, &event.comm, parent, now);
            }
            EventKind::Exec { task, filename, .. } => {
                if let Some(index) = self.task(task.task.tgid, &event.comm, now) {
                    let name = super::chrome::program(filename, &event.comm);
                    let program = Program { name: bounded(&super::line::printable(name)), since_us: now };
                    self.timeline.tasks[index].programs.push(program);
                    self.moved(index, &task.ns, now);
                }
            }
            EventKind::Exit { task, status, group_dead: true, .. } => {
                if let Some(index) = self.task(task.task.tgid, &event.comm, now) {
                    let task = &mut self.timeline.tasks[index];
                    task.end_us = Some(now);
                    task.end = Some(bounded(&words::end(*status).plain()));
                    task.killed = status & 0x7f != 0;
                }
            }
            EventKind::Reap { task, .. } if task.tid == task.tgid => {
                if let Some(index) = self.by_tgid.remove(&task.tgid) {
                    let task = &mut self.timeline.tasks[index];
                    task.reaped_us = Some(now);
                    task.reaped = Some(bounded(&line.sentence()));
                    task.end_us.get_or_insert(now);
                }
            }
            EventKind::Setns { after, ret: 0, .. } | EventKind::Unshare { after, ret: 0, .. } => {
                if let Some(index) = self.task(current, &event.comm, now) {
                    self.moved(index, after, now);
                }
            }
            _ => {}
        }
        let group = self.group(&event.kind, now);
        if is_told(event) {
            self.mark(event, line, group, now);
        }
    }

    fn born(&mut self, child: &TaskView, comm: &str, parent: Option<usize>, now: u64) {
        let programs = vec![Program { name: bounded(&super::line::printable(comm)), since_us: now }];
        let ns_pid = child.ns_pid().filter(|_| child.ns_pids.len() > 1);
        let task = Task { tgid: child.task.tgid, ns_pid, parent, since_us: now, programs, ..Task::default() };
        if let Some(index) = self.add(task) {
            self.moved(index, &child.ns, now);
        }
    }

    /// The task with this number; one from before the trace begins where it is first seen.
    fn task(&mut self, tgid: u32, comm: &str, now: u64) -> Option<usize> {
        if let Some(index) = self.by_tgid.get(&tgid) {
            return Some(*index);
        }
        if tgid == 0 {
            return None;
        }
        let programs = vec![Program { name: bounded(&super::line::printable(comm)), since_us: now }];
        self.add(Task { tgid, since_us: now, from_before: true, programs, ..Task::default() })
    }

    fn add(&mut self, task: Task) -> Option<usize> {
        let tasks = &mut self.timeline.tasks;
        if tasks.len() == MAX_TASKS {
            self.timeline.omitted_tasks += u64::from(!task.from_before);
            self.by_tgid.remove(&task.tgid);
            return None;
        }
        self.by_tgid.insert(task.tgid, tasks.len());
        tasks.push(task);
        Some(tasks.len() - 1)
    }

    fn moved(&mut self, index: usize, ns: &NsSet, now: u64) {
        let mut kinds = BTreeMap::new();
        for kind in NsKind::ALL.into_iter().filter(|kind| !FOR_CHILDREN.contains(kind)) {
            let Some(inode) = ns.get(kind) else { continue };
            kinds.insert(kind.proc_name().to_owned(), inode);
            let known = self.timeline.namespaces.iter().any(|known| known.inode == inode);
            if !known && !self.node.contains(&inode) && self.timeline.namespaces.len() < MAX_NAMESPACES {
                self.timeline.namespaces.push(Namespace {
                    kind: kind.proc_name().to_owned(),
                    inode,
                    since_us: now,
                    until_us: None,
                });
            }
        }
        let before = std::mem::replace(&mut self.timeline.tasks[index].ns, kinds);
        for inode in before.into_values() {
            self.left(inode, now);
        }
    }

    /// Notes until when the namespace had a process, unless one is in it still.
    fn left(&mut self, inode: u32, now: u64) {
        let lives = |task: &Task| task.end_us.is_none() && task.ns.values().any(|ns| *ns == inode);
        if !self.timeline.tasks.iter().any(lives)
            && let Some(known) = self.timeline.namespaces.iter_mut().find(|known| known.inode == inode)
        {
            known.until_us = Some(now);
        }
    }

    /// Notes what happens to a cgroup; which one it is.
    fn group(&mut self, kind: &EventKind, now: u64) -> Option<usize> {
        let (id, path) = match kind {
            EventKind::CgroupMkdir { id, hierarchy: V2, path }
            | EventKind::CgroupRmdir { id, hierarchy: V2, path }
            | EventKind::CgroupAttach { id, hierarchy: V2, path, .. }
            | EventKind::CgroupFreeze { id, hierarchy: V2, path, .. }
            | EventKind::CgroupFrozen { id, hierarchy: V2, path, .. }
            | EventKind::CgroupPopulated { id, hierarchy: V2, path, .. } => (id, path),
            EventKind::CgroupWrite { cgroup_id, .. } => return self.groups.get(cgroup_id).copied(),
            _ => return None,
        };
        let groups = &mut self.timeline.cgroups;
        if !self.groups.contains_key(id) && groups.len() == MAX_GROUPS {
            return None;
        }
        let index = *self.groups.entry(*id).or_insert_with(|| {
            let path = bounded(&super::line::printable(path));
            groups.push(Group { path, made_us: None, removed_us: None, populated: Vec::new() });
            groups.len() - 1
        });
        let group = &mut groups[index];
        match kind {
            EventKind::CgroupMkdir { .. } => group.made_us = Some(now),
            EventKind::CgroupRmdir { .. } => group.removed_us = Some(now),
            EventKind::CgroupPopulated { populated: true, .. } if group.populated.len() < MAX_GROUPS => {
                group.populated.push((now, None));
            }
            EventKind::CgroupPopulated { populated: false, .. } => {
                if let Some((_, until)) = group.populated.last_mut() {
                    *until = Some(now);
                }
            }
            _ => {}
        }
        Some(index)
    }

    fn mark(&mut self, event: &Event, line: &Line, cgroup: Option<usize>, at_us: u64) {
        // A gap is never left out.
        let is_gap = matches!(event.kind, EventKind::Gap { .. });
        if self.timeline.marks.len() >= MAX_MARKS && !is_gap {
            self.timeline.omitted_marks += 1;
            return;
        }
        let whose = match &event.kind {
            EventKind::Exit { task, .. } | EventKind::Exec { task, .. } => task.task.tgid,
            EventKind::Reparent { task, .. } | EventKind::OomVictim { task, .. } => task.tgid,
            _ => event.current.tgid,
        };
        let to = match &event.kind {
            EventKind::NewTask { child, .. } => Some(child.task.tgid),
            EventKind::SignalGenerate { target, .. } => Some(target.tgid),
            EventKind::CgroupAttach { task, .. } => Some(task.tgid),
            EventKind::Reparent { to, .. } => Some(to.tgid),
            _ => None,
        };
        self.timeline.marks.push(Mark {
            at_us,
            kind: super::chrome::name(&event.kind).1.to_owned(),
            task: self.by_tgid.get(&whose).copied(),
            to: to.and_then(|tgid| self.by_tgid.get(&tgid).copied()),
            cgroup,
            text: bounded(&line.sentence()),
        });
    }

    fn finish(mut self) -> Timeline {
        let mut last: HashMap<u32, Option<u64>> = HashMap::new();
        for task in &self.timeline.tasks {
            for inode in task.ns.values() {
                let until = last.entry(*inode).or_insert(Some(0));
                *until = until.zip(task.end_us).map(|(until, end)| until.max(end));
            }
        }
        for namespace in &mut self.timeline.namespaces {
            if let Some(until) = last.get(&namespace.inode) {
                namespace.until_us = *until;
            }
        }
        self.timeline
    }
}

/// What a drawing shows: no details, and of the many mounts only what changes a root.
fn is_told(event: &Event) -> bool {
    match &event.kind {
        EventKind::Mount { .. }
        | EventKind::Umount { .. }
        | EventKind::Fsopen { .. }
        | EventKind::OpenTree { .. }
        | EventKind::MoveMount { .. }
        | EventKind::MountSetattr { .. } => false,
        kind => !is_detail(event.current, kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::sample::{Story, born, exit, signal, task};
    use podproof_ebpf::event::{ReapSource, Reaper};

    fn drawn(story: &Story) -> Timeline {
        timeline(&story.events, &BTreeSet::new())
    }

    fn reap(tgid: u32) -> EventKind {
        EventKind::Reap {
            task: task(tgid),
            ns_pids: vec![tgid],
            by: ReapSource::ReleaseTask,
            reaper: Reaper::Parent,
            zombie_ns: None,
        }
    }

    #[test]
    fn a_life_has_birth_end_and_reap() {
        let mut story = Story::default();
        story
            .add("sh", 10, born(11, &[11, 1], 0))
            .add("sh", 10, signal(15, 0, 11))
            .add("true", 11, exit(11, 15, true))
            .add("sh", 10, reap(11));
        let timeline = drawn(&story);
        assert_eq!(timeline.tasks.len(), 2);
        let (parent, child) = (&timeline.tasks[0], &timeline.tasks[1]);
        assert!(parent.from_before && parent.end_us.is_none());
        assert_eq!((child.parent, child.ns_pid, child.since_us), (Some(0), Some(1), 0));
        assert_eq!((child.end_us, child.reaped_us, child.killed), (Some(2000), Some(3000), true));
        assert_eq!(child.end.as_deref(), Some("is killed by SIGTERM"));
        let sent = timeline.marks.iter().find(|mark| mark.kind == "signal").unwrap();
        assert_eq!((sent.task, sent.to), (Some(0), Some(1)));
        assert_eq!(timeline.length_us, 3000);
    }

    #[test]
    fn a_number_that_comes_back_is_another_task() {
        let mut story = Story::default();
        story.add("sh", 10, born(11, &[11], 0)).add("a", 11, exit(11, 0, true)).add("sh", 10, reap(11)).add(
            "sh",
            10,
            born(11, &[11], 0),
        );
        let timeline = drawn(&story);
        let ends: Vec<bool> =
            timeline.tasks.iter().filter(|task| task.tgid == 11).map(|task| task.end_us.is_some()).collect();
        assert_eq!(ends, [true, false]);
    }

    #[test]
    fn a_storm_is_bounded_and_counted() {
        let mut story = Story::default();
        for tgid in 100..1100 {
            story.add("sh", 10, born(tgid, &[tgid], 0));
        }
        story.add("sh", 10, EventKind::Gap { lost: 4 });
        let timeline = drawn(&story);
        assert_eq!(timeline.tasks.len(), MAX_TASKS);
        assert_eq!(timeline.omitted_tasks, 1001 - MAX_TASKS as u64);
        assert_eq!(timeline.omitted_marks, 1000 - MAX_MARKS as u64);
        assert_eq!(timeline.marks.last().unwrap().kind, "gap");
        assert!(serde_json::to_string(&timeline).unwrap().len() < 60_000);
    }

    #[test]
    fn cgroups_have_their_times() {
        let mut story = Story::default();
        let path = || "/pod/a\n".to_owned();
        story
            .add("sh", 10, EventKind::CgroupMkdir { id: 7, hierarchy: V2, path: path() })
            .add("sh", 10, EventKind::CgroupPopulated { id: 7, hierarchy: V2, path: path(), populated: true })
            .add(
                "sh",
                10,
                EventKind::CgroupPopulated { id: 7, hierarchy: V2, path: path(), populated: false },
            )
            .add("sh", 10, EventKind::CgroupRmdir { id: 7, hierarchy: V2, path: path() });
        let group = drawn(&story).cgroups.remove(0);
        assert_eq!((group.made_us, group.removed_us), (Some(0), Some(3000)));
        assert_eq!(group.populated, [(1000, Some(2000))]);
        assert_eq!(group.path, "/pod/a\\n");
    }

    #[test]
    fn nothing_is_a_timeline_too() {
        assert_eq!(drawn(&Story::default()), Timeline::default());
    }
}
