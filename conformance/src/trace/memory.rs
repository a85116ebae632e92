//! Who is who: what earlier events told of processes, namespaces and cgroups.

use std::collections::{HashMap, VecDeque};

use podproof_ebpf::event::{Event, EventKind, NsKind, NsSet, TaskRef, TaskView};

use super::line::{Ink, Text};
use super::machine::Machine;
use super::words;

/// The namespaces of the machine itself that have fixed numbers end below this; the kernel gives out the others from
/// `PROC_DYNAMIC_FIRST` on.
const FIRST_DYNAMIC: u32 = 0xF000_0000;

#[derive(Debug, Default, Clone)]
struct Known {
    /// When its leader started, which tells it from a later process with its number.
    start_ns: Option<u64>,
    name: Option<String>,
    /// Numbers of the process, outermost first.
    ns_pids: Vec<u32>,
    cgroup: Option<u64>,
    /// Path and error of the last exec that failed, until one succeeds.
    failed_exec: Option<(String, i32)>,
    has_ended: bool,
    parent: Option<u32>,
    /// It may be the owner of a namespace.
    is_owner: bool,
}

impl Known {
    /// `pause 4713/1`.
    fn shown(&self, tgid: u32) -> String {
        let name = self.name.as_ref().map_or_else(String::new, |name| format!("{name} "));
        // A name is the program's to choose.
        super::line::printable(&format!("{name}{}", numbers(tgid, &self.ns_pids)))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    Node,
    Process(u32),
    /// A process that was forgotten, as lines showed it.
    Forgotten(String),
}

/// Cgroups whose path is kept after their removal, as ends of processes may still come that name them.
const REMOVED: usize = 1024;

/// What a narrator remembers. A process of the trace is forgotten when the kernel frees it, and a cgroup some time after its
/// removal; the rest is bounded by the numbers of processes and namespaces, which the kernel gives out again.
#[derive(Debug, Default)]
pub(super) struct Memory {
    processes: HashMap<u32, Known>,
    /// Who was first seen in a namespace.
    owners: HashMap<(NsKind, u32), Owner>,
    /// Namespaces in which nobody was found, each with the process that was the last to tell of it and may be in it by now.
    missing: HashMap<(NsKind, u32), u32>,
    /// Paths of cgroups of v2; none for those that were looked for in vain.
    cgroups: HashMap<u64, Option<String>>,
    /// Ids of cgroups that were removed, the earliest first.
    removed: VecDeque<u64>,
    pub(super) machine: Option<Machine>,
}

impl Memory {
    /// Remembers nothing, and can ask a machine.
    pub(super) fn with(machine: Machine) -> Self {
        let first = machine.first_namespaces();
        let owners = first.into_iter().map(|(kind, inode)| ((own(kind), inode), Owner::Node)).collect();
        Self { owners, machine: Some(machine), ..Self::default() }
    }

    /// Takes in what has to be known to tell the event itself: who acts, and who is new.
    pub(super) fn before(&mut self, event: &Event) {
        let current = event.current;
        // The kernel's idle task, and a program that is about to get another name.
        if current.tgid != 0 && !matches!(event.kind, EventKind::Exec { .. }) {
            let known = self.known(current);
            // An exec shows its own adoption first, and has its new name by then.
            let is_early =
                matches!(event.kind, EventKind::Reparent { task, .. } if task.tgid == current.tgid);
            if (current.tid == current.tgid && !is_early) || known.name.is_none() {
                known.name = Some(event.comm.clone());
            }
        }
        match &event.kind {
            EventKind::NewTask { child, flags, .. } if child.task.tid == child.task.tgid => {
                // One that had this number, and whose end was lost or is not yet told.
                self.forget(child.task.tgid);
                self.known(child.task).name = Some(event.comm.clone());
                for kind in words::new_namespaces(*flags) {
                    self.owned(kind, child.ns.get(kind), child.task.tgid);
                }
                if child.ns_pid() == Some(1) {
                    self.owned(NsKind::Pid, child.ns.pid, child.task.tgid);
                }
                self.saw(child);
            }
            EventKind::NewTask { child, .. } => self.seen(&child.ns, child.task.tgid),
            EventKind::Exec { task, .. } => {
                self.processes
                    .entry(task.task.tgid)
                    .or_default()
                    .name
                    .get_or_insert_with(|| event.comm.clone());
                self.saw(task);
            }
            EventKind::Exit { task, .. } => self.saw(task),
            EventKind::Reap { task, ns_pids, .. } => self.numbered(*task, ns_pids),
            EventKind::SignalGenerate { target, target_ns_pids, .. } => {
                self.numbered(*target, target_ns_pids);
            }
            // The file of a namespace may be mounted there now.
            EventKind::Mount { ret: 0, .. } | EventKind::MoveMount { ret: 0, .. } => self.missing.clear(),
            EventKind::Unshare { before, after, ret, .. } if *ret >= 0 => {
                for (kind, inode) in words::changes(before, after) {
                    self.owned(kind, Some(inode), current.tgid);
                }
            }
            EventKind::CgroupMkdir { id, hierarchy: 0, path } => {
                self.cgroups.insert(*id, Some(path.clone()));
            }
            EventKind::CgroupAttach { id, hierarchy: 0, path, .. }
            | EventKind::CgroupRmdir { id, hierarchy: 0, path }
            | EventKind::CgroupFreeze { id, hierarchy: 0, path, .. }
            | EventKind::CgroupFrozen { id, hierarchy: 0, path, .. }
            | EventKind::CgroupPopulated { id, hierarchy: 0, path, .. } => {
                self.cgroups.insert(*id, Some(path.clone()));
            }
            _ => {}
        }
    }

    /// Takes in what holds from the event on.
    pub(super) fn after(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Exec { task, .. } => {
                let known = self.processes.entry(task.task.tgid).or_default();
                known.name = Some(event.comm.clone());
                known.failed_exec = None;
                // A number that came back unseen.
                known.has_ended = false;
            }
            EventKind::ExecFailed { filename, errno } => {
                let known = self.processes.entry(event.current.tgid).or_default();
                known.failed_exec = Some((filename.clone(), *errno));
            }
            EventKind::Exit { task, group_dead: true, .. } => {
                self.processes.entry(task.task.tgid).or_default().has_ended = true;
            }
            EventKind::CgroupRmdir { id, hierarchy: 0, .. } => {
                self.removed.push_back(*id);
                if self.removed.len() > REMOVED
                    && let Some(id) = self.removed.pop_front()
                {
                    self.cgroups.remove(&id);
                }
            }
            EventKind::Free { task } => {
                // The number may be that of another process by now, as a task is freed some time after its release.
                let start_ns = self.processes.get(&task.tgid).and_then(|known| known.start_ns);
                if start_ns.is_none_or(|start_ns| start_ns == task.start_ns) {
                    self.forget(task.tgid);
                }
            }
            EventKind::CgroupAttach { id, hierarchy: 0, task, .. } => {
                self.processes.entry(task.tgid).or_default().cgroup = Some(*id);
            }
            _ => {}
        }
    }

    /// What is known of the process of a task.
    fn known(&mut self, task: TaskRef) -> &mut Known {
        let known = self.processes.entry(task.tgid).or_default();
        // Of a thread it is its own start; 0 is that of a task of which only the number is known.
        if task.tid == task.tgid && task.start_ns != 0 {
            known.start_ns = Some(task.start_ns);
        }
        known
    }

    /// Forgets a process, whose namespaces keep its name.
    fn forget(&mut self, tgid: u32) {
        let Some(known) = self.processes.remove(&tgid) else { return };
        if !known.is_owner {
            return;
        }
        let shown = known.shown(tgid);
        for owner in self.owners.values_mut().filter(|owner| **owner == Owner::Process(tgid)) {
            *owner = Owner::Forgotten(shown.clone());
        }
    }

    fn owned(&mut self, kind: NsKind, inode: Option<u32>, tgid: u32) {
        if let Some(inode) = inode {
            self.owners.insert((own(kind), inode), Owner::Process(tgid));
            self.missing.remove(&(own(kind), inode));
            self.processes.entry(tgid).or_default().is_owner = true;
        }
    }

    fn seen(&mut self, ns: &NsSet, tgid: u32) {
        for kind in NsKind::ALL {
            if let Some(inode) = ns.get(kind)
                && !self.owners.contains_key(&(own(kind), inode))
            {
                self.owned(kind, Some(inode), tgid);
            }
        }
    }

    fn saw(&mut self, task: &TaskView) {
        self.numbered(task.task, &task.ns_pids);
        let known = self.processes.entry(task.task.tgid).or_default();
        known.cgroup = Some(task.cgroup_id);
        known.parent = Some(task.parent.tgid);
        self.seen(&task.ns, task.task.tgid);
    }

    /// A thread's numbers are not those of its process.
    fn numbered(&mut self, task: TaskRef, ns_pids: &[u32]) {
        if task.tid == task.tgid && !ns_pids.is_empty() {
            self.known(task).ns_pids = ns_pids.to_vec();
        }
    }

    /// Name and number of a process, with its numbers inside: `pause 4713/1`.
    pub(super) fn process(&mut self, tgid: u32) -> String {
        if tgid == 0 {
            return super::narrator::KERNEL.to_owned();
        }
        let known = self.processes.entry(tgid).or_default();
        if known.name.is_none() {
            known.name = self.machine.as_ref().and_then(|machine| machine.process_name(tgid));
        }
        if known.ns_pids.is_empty() {
            known.ns_pids = self.machine.as_ref().map(|machine| machine.ns_pids(tgid)).unwrap_or_default();
            // Nothing, or those of a process with the same number elsewhere.
            if known.ns_pids.first() != Some(&tgid) {
                known.ns_pids = vec![tgid];
            }
        }
        known.shown(tgid)
    }

    /// The number of a process, with its numbers inside.
    pub(super) fn number(&self, tgid: u32) -> String {
        numbers(tgid, self.processes.get(&tgid).map_or(&[], |known| known.ns_pids.as_slice()))
    }

    /// The last exec of a process that failed with none that succeeded after it.
    pub(super) fn failed_exec(&self, tgid: u32) -> Option<(String, i32)> {
        self.processes.get(&tgid)?.failed_exec.clone()
    }

    /// Whether the end of a process was seen.
    pub(super) fn has_ended(&self, tgid: u32) -> bool {
        self.processes.get(&tgid).is_some_and(|known| known.has_ended)
    }

    /// Whether a process belongs to PID 1 of a pid namespace that has ended: the kernel reaps what it left.
    pub(super) fn is_left_by_init(&self, tgid: u32) -> bool {
        let parent = self.processes.get(&tgid).and_then(|known| self.processes.get(&known.parent?));
        parent.is_some_and(|parent| parent.has_ended && parent.ns_pids.last() == Some(&1))
    }

    /// The cgroup that a process was last seen in.
    pub(super) fn cgroup_of(&self, tgid: u32) -> Option<u64> {
        self.processes.get(&tgid)?.cgroup
    }

    /// The path of a cgroup of v2, or its id.
    pub(super) fn cgroup(&mut self, id: u64) -> Text {
        if !self.cgroups.contains_key(&id) {
            let found = self.machine.as_mut().map(Machine::cgroups).unwrap_or_default();
            for (id, path) in found {
                self.cgroups.insert(id, Some(path));
            }
            self.cgroups.entry(id).or_insert(None);
        }
        match self.cgroups.get(&id) {
            Some(Some(path)) => Text::of("cgroup ").ink(Ink::Cgroup, path),
            _ => Text::of("the cgroup with id ").ink(Ink::Cgroup, &id.to_string()),
        }
    }

    /// `the net namespace of pause 4711 (4026532177)`, told by somebody who is not its owner.
    pub(super) fn namespace(&mut self, kind: NsKind, inode: u32, teller: u32) -> Text {
        let name = own(kind);
        let the =
            |whose: &str| Text::of("the ").ink(Ink::Namespace, &format!("{whose}{name}")).say(" namespace");
        let number = format!(" ({inode})");
        let first = inode < FIRST_DYNAMIC;
        let known = if first { Some(Owner::Node) } else { self.owners.get(&(name, inode)).cloned() };
        match known {
            Some(Owner::Node) => return the("node's ").ink(Ink::Dim, &number),
            Some(Owner::Process(tgid)) if tgid != teller => {
                let process = self.process(tgid);
                return the("").say(" of ").ink(Ink::Process, &process).ink(Ink::Dim, &number);
            }
            Some(Owner::Forgotten(process)) => {
                return the("").say(" of ").ink(Ink::Process, &process).ink(Ink::Dim, &number);
            }
            _ => {}
        }
        match self.look_up(name, inode, teller) {
            Some(Place::File(path)) => the("").say(" at ").ink(Ink::Path, &path).ink(Ink::Dim, &number),
            Some(Place::Member(member)) => {
                self.owned(kind, Some(inode), member);
                let process = self.process(member);
                the("").say(" of ").ink(Ink::Process, &process).ink(Ink::Dim, &number)
            }
            None => the("").ink(Ink::Dim, &format!(" {inode}")),
        }
    }

    /// Asks the machine for a namespace. What was looked for in vain is not looked for again, but with those who have told of
    /// it since, until something is mounted.
    fn look_up(&mut self, kind: NsKind, inode: u32, teller: u32) -> Option<Place> {
        let machine = self.machine.as_ref()?;
        let found = match self.missing.get(&(kind, inode)) {
            Some(before) => (*before != teller && machine.is_member(kind, inode, *before))
                .then_some(Place::Member(*before)),
            None => machine
                .ns_file(kind, inode)
                .map(Place::File)
                .or_else(|| machine.member(kind, inode, teller).map(Place::Member)),
        };
        if found.is_none() {
            self.missing.insert((kind, inode), teller);
        }
        found
    }
}

/// Where the machine has a namespace.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    File(String),
    Member(u32),
}

/// The kind of the namespace itself: what is for children is theirs to be in.
fn own(kind: NsKind) -> NsKind {
    match kind {
        NsKind::PidForChildren => NsKind::Pid,
        NsKind::TimeForChildren => NsKind::Time,
        other => other,
    }
}

fn numbers(tgid: u32, ns_pids: &[u32]) -> String {
    let inner = ns_pids.iter().skip(1).map(|number| format!("/{number}"));
    std::iter::once(tgid.to_string()).chain(inner).collect()
}

/// The namespaces of a task that are not the machine's first ones, by kind and inode.
pub(super) fn inodes(ns: &NsSet) -> String {
    let parts: Vec<String> = NsKind::ALL
        .into_iter()
        .filter(|kind| *kind == own(*kind))
        .filter_map(|kind| Some((kind, ns.get(kind).filter(|inode| *inode >= FIRST_DYNAMIC)?)))
        .map(|(kind, inode)| format!("{kind}:{inode}"))
        .collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use podproof_ebpf::event::EventKind;

    use super::*;
    use crate::trace::sample::{Story, born, exit, task, view};

    const NET_NS: u32 = 4_026_532_002;
    const CLONE_NEWNET: u64 = 0x4000_0000;

    fn take(memory: &mut Memory, story: &Story) {
        for event in &story.events {
            memory.before(event);
            memory.after(event);
        }
    }

    fn said(memory: &mut Memory, inode: u32, teller: u32) -> String {
        memory.namespace(NsKind::Net, inode, teller).plain()
    }

    #[test]
    fn what_the_kernel_freed_is_forgotten() {
        let mut memory = Memory::default();
        let mut story = Story::default();
        for tgid in 100..10_000 {
            story.add("sh", 10, born(tgid, &[tgid], 0)).add("sh", tgid, exit(tgid, 0, true)).add(
                "swapper/0",
                0,
                EventKind::Free { task: task(tgid) },
            );
        }
        take(&mut memory, &story);
        assert_eq!(memory.processes.keys().collect::<Vec<_>>(), [&10]);
    }

    #[test]
    fn cgroups_that_were_removed_are_forgotten_in_the_end() {
        let mut memory = Memory::default();
        let mut story = Story::default();
        for id in 2..5000 {
            let path = format!("/pod-{id}");
            story.add("sh", 10, EventKind::CgroupMkdir { id, hierarchy: 0, path: path.clone() }).add(
                "sh",
                10,
                EventKind::CgroupRmdir { id, hierarchy: 0, path },
            );
        }
        take(&mut memory, &story);
        assert_eq!((memory.cgroups.len(), memory.removed.len()), (REMOVED, REMOVED));
        assert_eq!(memory.cgroup(4999).plain(), "cgroup /pod-4999");
        assert_eq!(memory.cgroup(2).plain(), "the cgroup with id 2");
    }

    #[test]
    fn a_namespace_outlives_the_name_of_its_owner() {
        let mut memory = Memory::default();
        let mut child = view(11, &[11, 1]);
        child.ns.net = Some(NET_NS);
        let kind = EventKind::NewTask { child, flags: CLONE_NEWNET, exit_signal: 17 };
        take(&mut memory, Story::default().add("pause", 10, kind));
        let before = said(&mut memory, NET_NS, 12);
        assert_eq!(before, format!("the net namespace of pause 11/1 ({NET_NS})"));
        take(&mut memory, Story::default().add("sh", 12, EventKind::Free { task: task(11) }));
        assert!(!memory.processes.contains_key(&11));
        assert_eq!(said(&mut memory, NET_NS, 12), before);
        // The next process with the number is not its owner.
        take(&mut memory, Story::default().add("later", 10, born(11, &[11], 0)));
        assert_eq!(said(&mut memory, NET_NS, 12), before);
        assert_eq!(said(&mut memory, NET_NS, 11), before);
    }

    #[test]
    fn a_process_is_not_forgotten_for_an_earlier_one_with_its_number() {
        let mut memory = Memory::default();
        let mut earlier = task(11);
        earlier.start_ns -= 1;
        let mut story = Story::default();
        story.add("later", 10, born(11, &[11], 0)).add("sh", 12, EventKind::Free { task: earlier });
        take(&mut memory, &story);
        assert_eq!(memory.process(11), "later 11");
        take(&mut memory, Story::default().add("sh", 12, EventKind::Free { task: task(11) }));
        assert_eq!(memory.process(11), "11");
    }

    #[test]
    fn a_namespace_is_looked_for_in_vain_once() {
        let here = || Memory { machine: Some(Machine::default()), ..Memory::default() };
        let own = std::process::id();
        let inode = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
        let inode = u32::try_from(inode).unwrap();
        // Larger than any process id can be.
        let (nobody, gone) = (u32::MAX, u32::MAX - 1);

        let mut memory = here();
        assert_eq!(memory.look_up(NsKind::Net, 1, own), None);
        assert_eq!(memory.missing, HashMap::from([((NsKind::Net, 1), own)]));

        // All of /proc would show somebody; whoever told of it last is gone.
        memory.missing = HashMap::from([((NsKind::Net, inode), gone)]);
        assert_eq!(memory.look_up(NsKind::Net, inode, own), None);
        // That one is in it, and is no news to itself.
        assert_eq!(memory.look_up(NsKind::Net, inode, own), None);
        assert_eq!(memory.look_up(NsKind::Net, inode, nobody), Some(Place::Member(own)));

        memory.missing = HashMap::from([((NsKind::Net, inode), gone)]);
        let mount = |ret| EventKind::Mount {
            from: "/proc/9/ns/net".into(),
            target: "/run/netns/a".into(),
            fstype: String::new(),
            flags: 0,
            ret,
            mnt_ns: None,
        };
        take(&mut memory, Story::default().add("ip", 9, mount(-1)));
        assert_eq!(memory.look_up(NsKind::Net, inode, nobody), None);
        take(&mut memory, Story::default().add("ip", 9, mount(0)));
        assert!(memory.look_up(NsKind::Net, inode, nobody).is_some());
    }
}
