//! Who is who: what earlier events told of processes, namespaces and cgroups.

use std::collections::HashMap;

use podproof_ebpf::event::{Event, EventKind, NsKind, NsSet, TaskView};

use super::line::{Ink, Text};
use super::machine::Machine;
use super::words;

/// The namespaces of the machine itself that have fixed numbers end below this; the kernel gives out the others from
/// `PROC_DYNAMIC_FIRST` on.
const FIRST_DYNAMIC: u32 = 0xF000_0000;

#[derive(Debug, Default, Clone)]
struct Known {
    name: Option<String>,
    /// Numbers of the process, outermost first.
    ns_pids: Vec<u32>,
    cgroup: Option<u64>,
    /// Path and error of the last exec that failed, until one succeeds.
    failed_exec: Option<(String, i32)>,
    has_ended: bool,
    parent: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Node,
    Process(u32),
}

/// What a narrator remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    processes: HashMap<u32, Known>,
    /// Who was first seen in a namespace.
    owners: HashMap<(NsKind, u32), Owner>,
    /// Paths of cgroups of v2; none for those that were looked for in vain.
    cgroups: HashMap<u64, Option<String>>,
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
            let known = self.processes.entry(current.tgid).or_default();
            // An exec shows its own adoption first, and has its new name by then.
            let is_early =
                matches!(event.kind, EventKind::Reparent { task, .. } if task.tgid == current.tgid);
            if (current.tid == current.tgid && !is_early) || known.name.is_none() {
                known.name = Some(event.comm.clone());
            }
        }
        match &event.kind {
            EventKind::NewTask { child, flags, .. } if child.task.tid == child.task.tgid => {
                let known = Known { name: Some(event.comm.clone()), ..Known::default() };
                self.processes.insert(child.task.tgid, known);
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
            EventKind::Reap { task, ns_pids, .. } => self.numbered(task.tgid, task.tid, ns_pids),
            EventKind::SignalGenerate { target, target_ns_pids, .. } => {
                self.numbered(target.tgid, target.tid, target_ns_pids);
            }
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
            EventKind::CgroupAttach { id, hierarchy: 0, task, .. } => {
                self.processes.entry(task.tgid).or_default().cgroup = Some(*id);
            }
            _ => {}
        }
    }

    fn owned(&mut self, kind: NsKind, inode: Option<u32>, tgid: u32) {
        if let Some(inode) = inode {
            self.owners.insert((own(kind), inode), Owner::Process(tgid));
        }
    }

    fn seen(&mut self, ns: &NsSet, tgid: u32) {
        for kind in NsKind::ALL {
            if let Some(inode) = ns.get(kind) {
                self.owners.entry((own(kind), inode)).or_insert(Owner::Process(tgid));
            }
        }
    }

    fn saw(&mut self, task: &TaskView) {
        self.numbered(task.task.tgid, task.task.tid, &task.ns_pids);
        let known = self.processes.entry(task.task.tgid).or_default();
        known.cgroup = Some(task.cgroup_id);
        known.parent = Some(task.parent.tgid);
        self.seen(&task.ns, task.task.tgid);
    }

    /// A thread's numbers are not those of its process.
    fn numbered(&mut self, tgid: u32, tid: u32, ns_pids: &[u32]) {
        if tid == tgid && !ns_pids.is_empty() {
            self.processes.entry(tgid).or_default().ns_pids = ns_pids.to_vec();
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
        let name = known.name.as_ref().map_or_else(String::new, |name| format!("{name} "));
        // A name is the program's to choose.
        super::line::printable(&format!("{name}{}", numbers(tgid, &known.ns_pids)))
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
        let known = if first { Some(Owner::Node) } else { self.owners.get(&(name, inode)).copied() };
        match known {
            Some(Owner::Node) => return the("node's ").ink(Ink::Dim, &number),
            Some(Owner::Process(tgid)) if tgid != teller => {
                let process = self.process(tgid);
                return the("").say(" of ").ink(Ink::Process, &process).ink(Ink::Dim, &number);
            }
            _ => {}
        }
        let Some(machine) = &self.machine else { return the("").ink(Ink::Dim, &format!(" {inode}")) };
        if let Some(path) = machine.ns_file(name, inode) {
            return the("").say(" at ").ink(Ink::Path, &path).ink(Ink::Dim, &number);
        }
        let member = machine.member(name, inode, teller);
        match member {
            Some(member) => {
                self.owned(kind, Some(inode), member);
                let process = self.process(member);
                the("").say(" of ").ink(Ink::Process, &process).ink(Ink::Dim, &number)
            }
            None => the("").ink(Ink::Dim, &format!(" {inode}")),
        }
    }
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
