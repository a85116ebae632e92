//! From events to lines.

use std::time::Duration;

use podproof_ebpf::event::{
    Creds, Event, EventKind, NsKind, NsSet, OomConstraint, Reaper, RootMount, SignalAction, SignalResult,
    TaskRef, TaskView,
};

use super::calls::{
    AT_RECURSIVE, credentials, descriptor, does, mount, mount_at, mount_setattr, only_thread, result,
    unshare, wait,
};
use super::line::{Ink, Line, Text};
use super::machine::Machine;
use super::memory::{Memory, inodes};
use super::words;
use crate::evidence::Lost;
use crate::observe::trace::CLONE_THREAD;

/// Who acts where no process does.
pub(super) const KERNEL: &str = "kernel";
/// All capabilities of kernels since 5.9.
const ALL_CAPABILITIES: u64 = (1 << 41) - 1;
const OPEN_TREE_CLONE: u64 = 1;

/// Turns events into lines, one each. It needs all events of a trace in their order, also those whose lines nobody reads.
#[derive(Debug, Default)]
pub struct Narrator {
    memory: Memory,
    detailed: bool,
    first_ns: Option<u64>,
}

impl Narrator {
    /// One that knows nothing but the events.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that asks the machine that the events come from for what was there before them.
    #[must_use]
    pub fn on(machine: Machine) -> Self {
        Self { memory: Memory::with(machine), ..Self::default() }
    }

    /// Adds the numbers that people rarely want: inodes of namespaces at an exec, threads, mount ids.
    #[must_use]
    pub fn detailed(self) -> Self {
        Self { detailed: true, ..self }
    }

    /// The line of an event.
    pub fn tell(&mut self, event: &Event) -> Line {
        let first_ns = *self.first_ns.get_or_insert(event.time_ns);
        self.memory.before(event);
        let (who, what) = self.sentence(event);
        self.memory.after(event);
        Line {
            time: Duration::from_nanos(event.time_ns.saturating_sub(first_ns)),
            who,
            what,
            source: event.source.clone(),
            is_gap: matches!(event.kind, EventKind::Gap { .. }),
        }
    }

    /// Name and numbers of a process, as lines show it.
    pub fn process(&mut self, tgid: u32) -> String {
        self.memory.process(tgid)
    }

    fn sentence(&mut self, event: &Event) -> (String, Text) {
        let current = event.current;
        let who = self.memory.process(current.tgid);
        let text = match &event.kind {
            EventKind::NewTask { child, flags, exit_signal } => {
                self.birth(current, child, *flags, *exit_signal)
            }
            EventKind::CloneFailed { flags, errno } => {
                let new = words::new_namespaces(*flags);
                let into = if new.is_empty() {
                    Text::default()
                } else {
                    Text::of(" into ").then(words::new_ones(&new))
                };
                Text::of("cannot clone").then(into).say(": ").ink(Ink::Bad, &words::errno(*errno))
            }
            EventKind::Exec { task, filename, old_tid, creds, root } => {
                return (
                    self.memory.process(task.task.tgid),
                    self.exec(task, filename, *old_tid, creds, *root),
                );
            }
            EventKind::ExecFailed { filename, errno } => Text::of("cannot execute ")
                .ink(Ink::Path, filename)
                .say(": ")
                .ink(Ink::Bad, &words::errno(*errno)),
            EventKind::Exit { task, status, group_dead, oom, tracer } => {
                let text = self.exit(task.task, *status, *group_dead, *oom, *tracer);
                return (self.memory.process(task.task.tgid), text);
            }
            EventKind::ZombieStart { task, parent, .. } => {
                let parent = self.object(parent.tgid);
                let text = Text::of("is a zombie; its parent ").then(parent).say(" is told");
                return (self.memory.process(task.tgid), text);
            }
            EventKind::Reap { task, reaper, zombie_ns, .. } => {
                return self.reap(current, *task, *reaper, *zombie_ns);
            }
            EventKind::Wait { call, options, ret, child, status } => {
                wait(*call, *options, *ret, *child, *status)
            }
            EventKind::Free { task } => {
                return (self.memory.process(task.tgid), Text::of("is freed by the kernel"));
            }
            EventKind::Reparent { task, from, to } => {
                let (to, from) = (self.object(to.tgid), self.object(from.tgid));
                let text = Text::of("has been adopted by ").then(to);
                let text = text.say(" (was the child of ").then(from).say(")");
                return (self.memory.process(task.tgid), text);
            }
            EventKind::SignalGenerate { signal, si_code, target, group, result, .. } => {
                return self.signal(current, *signal, *si_code, *target, *group, *result);
            }
            EventKind::SignalDeliver { signal, action, .. } => {
                let action = match action {
                    SignalAction::Default => "by its default action",
                    SignalAction::Ignore => "by ignoring it",
                    SignalAction::Handler => "by its handler",
                };
                Text::of("takes ").ink(Ink::Signal, &words::signal(*signal)).say(&format!(" {action}"))
            }
            EventKind::OomVictim { task, cgroup_id, constraint, limit_cgroup_id } => {
                return (KERNEL.into(), self.oom(*task, *cgroup_id, *constraint, *limit_cgroup_id));
            }
            EventKind::CgroupMkdir { hierarchy, path, .. } => {
                Text::of("makes ").then(self.hierarchical(*hierarchy, path))
            }
            EventKind::CgroupRmdir { hierarchy, path, .. } => {
                Text::of("removes ").then(self.hierarchical(*hierarchy, path))
            }
            EventKind::CgroupAttach { hierarchy, path, task, threadgroup, .. } => {
                let cgroup = self.hierarchical(*hierarchy, path);
                let whom = match (task.tgid == current.tgid, threadgroup) {
                    (true, true) => Text::of("itself"),
                    (true, false) => Text::of(&format!("its thread {}", task.tid)),
                    (false, true) => self.object(task.tgid),
                    (false, false) => {
                        Text::of(&format!("thread {} of ", task.tid)).then(self.object(task.tgid))
                    }
                };
                Text::of("moves ").then(whom).say(" to ").then(cgroup)
            }
            EventKind::CgroupFreeze { hierarchy, path, freeze, .. } => {
                let verb = if *freeze { "freezes " } else { "thaws " };
                Text::of(verb).then(self.hierarchical(*hierarchy, path))
            }
            EventKind::CgroupFrozen { hierarchy, path, frozen, .. } => {
                let state = if *frozen { " stands still" } else { " runs again" };
                let cgroup = self.hierarchical(*hierarchy, path);
                return (KERNEL.into(), Text::of("tells that ").then(cgroup).say(state));
            }
            EventKind::CgroupPopulated { hierarchy, path, populated, .. } => {
                let state = if *populated { " has processes" } else { " is empty" };
                let cgroup = self.hierarchical(*hierarchy, path);
                return (KERNEL.into(), Text::of("tells that ").then(cgroup).say(state));
            }
            EventKind::CgroupWrite { cgroup_id, file, value, ret } => {
                self.cgroup_write(*cgroup_id, file, value, *ret)
            }
            EventKind::Setns { nstype, ret, before, after, .. } => {
                self.setns(current, *nstype, *ret, before, after)
            }
            EventKind::Unshare { flags, ret, .. } => unshare(current, *flags, *ret),
            EventKind::Mount { from, target, fstype, flags, ret, .. } => {
                mount(from, target, fstype, *flags, *ret).then(result(*ret))
            }
            EventKind::Umount { target, flags, ret, .. } => {
                let ways = words::umount_ways(*flags);
                let how = if ways.is_empty() { String::new() } else { format!(" {}", ways.join(", ")) };
                does(*ret, "unmounts", "unmount").ink(Ink::Path, target).say(&how).then(result(*ret))
            }
            EventKind::PivotRoot { new_root, put_old, ret, .. } => does(*ret, "pivots", "pivot")
                .say("its root to ")
                .ink(Ink::Path, new_root)
                .say(", the old one to ")
                .ink(Ink::Path, put_old)
                .then(result(*ret)),
            EventKind::Chroot { path, ret, .. } => {
                does(*ret, "changes", "change").say("its root to ").ink(Ink::Path, path).then(result(*ret))
            }
            EventKind::Fsopen { fstype, ret } => does(*ret, "begins", "begin")
                .say("a ")
                .ink(Ink::Path, fstype)
                .say(" file system")
                .then(descriptor(*ret)),
            EventKind::OpenTree { path, flags, ret } => {
                let copies = flags & OPEN_TREE_CLONE != 0;
                let text = if copies { does(*ret, "copies", "copy") } else { does(*ret, "opens", "open") };
                let below = if flags & AT_RECURSIVE == 0 { "" } else { " with all below it" };
                text.then(mount_at(path)).say(below).then(descriptor(*ret))
            }
            EventKind::MoveMount { from, target, ret, .. } => {
                let text = if from.is_empty() {
                    does(*ret, "attaches", "attach").say("a mount")
                } else {
                    does(*ret, "moves", "move").say("the mount at ").ink(Ink::Path, from)
                };
                let target = if target.is_empty() {
                    Text::of("an open directory")
                } else {
                    Text::default().ink(Ink::Path, target)
                };
                text.say(" to ").then(target).then(result(*ret))
            }
            EventKind::MountSetattr { path, set, clear, flags, ret, .. } => {
                mount_setattr(path, *set, *clear, *flags, *ret).then(result(*ret))
            }
            EventKind::Hostname { name, domain, ret, .. } => {
                let what = if *domain { "domain" } else { "host" };
                does(*ret, "sets", "set")
                    .say(&format!("the {what} name to "))
                    .ink(Ink::Path, name)
                    .then(result(*ret))
            }
            EventKind::Shmget { key, size, ret, ipc_ns, .. } => {
                let key = match key {
                    0 => "without a key".to_owned(),
                    key => format!("with key {key:#x}"),
                };
                let id = if *ret < 0 { result(*ret) } else { Text::of(&format!(": id {ret}")) };
                let ns = ipc_ns.map(|inode| self.memory.namespace(NsKind::Ipc, inode, current.tgid));
                let ns = ns.map(|ns| Text::of(" in ").then(ns)).unwrap_or_default();
                does(*ret, "gets", "get")
                    .say(&format!("shared memory {key}, {size} bytes,"))
                    .then(ns)
                    .then(id)
            }
            EventKind::Shmat { id, ret, .. } => {
                does(*ret, "attaches", "attach").say(&format!("shared memory {id}")).then(result(*ret))
            }
            EventKind::Gap { lost } => {
                return (String::new(), Text::of(&format!("{} lost here", Lost(*lost).of("record"))));
            }
        };
        (who, text)
    }

    /// A process that something is done to.
    fn object(&mut self, tgid: u32) -> Text {
        let process = self.memory.process(tgid);
        Text::default().ink(Ink::Process, &process)
    }

    fn birth(&mut self, current: TaskRef, child: &TaskView, flags: u64, exit_signal: i32) -> Text {
        const SIGCHLD: i32 = 17;
        if flags & CLONE_THREAD != 0 {
            return Text::of(&format!("starts thread {}", child.task.tid));
        }
        let mut text = Text::of("clones ").ink(Ink::Process, &self.memory.number(child.task.tgid));
        let new = words::new_namespaces(flags);
        if !new.is_empty() {
            text = text.say(" into ").then(words::new_ones(&new));
        }
        if let Some(inode) = child.ns.pid
            && child.parent_pid_ns.is_some_and(|parent| parent != inode)
            && flags & words::CLONE_NEWPID == 0
        {
            text = if child.ns_pid() == Some(1) {
                text.say(" as the first of its ").ink(Ink::Namespace, "pid").say(" namespace")
            } else {
                let namespace = self.memory.namespace(NsKind::Pid, inode, child.task.tgid);
                text.say(" into ").then(namespace)
            };
        }
        let elsewhere = self.memory.cgroup_of(current.tgid).is_some_and(|parent| parent != child.cgroup_id);
        if flags & words::CLONE_INTO_CGROUP != 0 || elsewhere {
            let and = if new.is_empty() { " into " } else { " and into " };
            text = text.say(and).then(self.memory.cgroup(child.cgroup_id));
        }
        if child.parent.tgid != current.tgid {
            text = text.say(", as a child of ").then(self.object(child.parent.tgid));
        }
        if self.detailed && exit_signal != SIGCHLD {
            let signal = u32::try_from(exit_signal).ok().filter(|signal| *signal != 0);
            let at_its_end = signal.map_or_else(|| "no signal".to_owned(), words::signal);
            text = text.say(&format!(", {at_its_end} at its end"));
        }
        text
    }

    fn exec(
        &mut self,
        task: &TaskView,
        filename: &str,
        old_tid: u32,
        creds: &Creds,
        root: Option<RootMount>,
    ) -> Text {
        let of_root =
            self.memory.machine.as_ref().and_then(Machine::capabilities).unwrap_or(ALL_CAPABILITIES);
        let mut text = Text::of("executes ").ink(Ink::Path, filename).say(&credentials(creds, of_root));
        if old_tid != task.task.tid {
            text = text.say(&format!(", by its thread {old_tid}"));
        }
        if self.detailed {
            let inodes = inodes(&task.ns);
            if !inodes.is_empty() {
                text = text.say(" in ").ink(Ink::Namespace, &inodes);
            }
            if let Some(root) = root {
                let below = if root.is_mount_root { "" } else { "a directory of " };
                let RootMount { mount_id, dev_major, dev_minor, .. } = root;
                let root = format!(", root: {below}mount {mount_id} ({dev_major}:{dev_minor})");
                text = text.ink(Ink::Dim, &root);
            }
        }
        text
    }

    fn exit(
        &mut self,
        task: TaskRef,
        status: u32,
        group_dead: bool,
        oom: Option<bool>,
        tracer: Option<TaskRef>,
    ) -> Text {
        if !group_dead {
            let which =
                if task.tid == task.tgid { "main thread".into() } else { format!("thread {}", task.tid) };
            return Text::of(&format!("{which} ")).then(words::end(status));
        }
        let mut text = words::end(status);
        if oom == Some(true) {
            text = text.say(", chosen by the ").ink(Ink::Bad, "OOM killer");
        }
        if let Some((path, errno)) = self.memory.failed_exec(task.tgid) {
            let why = words::errno(errno);
            text = text.say("; it could not execute ").ink(Ink::Path, &path).say(": ").ink(Ink::Bad, &why);
        }
        if let Some(tracer) = tracer {
            text = text.say(", traced by ").then(self.object(tracer.tgid));
        }
        text
    }

    fn reap(
        &mut self,
        current: TaskRef,
        task: TaskRef,
        reaper: Reaper,
        zombie_ns: Option<u64>,
    ) -> (String, Text) {
        let by_kernel = reaper == Reaper::Auto || current.tgid == task.tgid;
        let who = if by_kernel { KERNEL.to_owned() } else { self.memory.process(current.tgid) };
        let mut text = Text::of("reaps ");
        if task.tid != task.tgid {
            text = text.say(&format!("thread {} of ", task.tid));
        }
        text = text.then(self.object(task.tgid));
        if reaper == Reaper::Tracer {
            text = text.say(" as its tracer");
        }
        if reaper == Reaper::Auto && task.tid == task.tgid {
            text = match self.memory.is_left_by_init(task.tgid) {
                true => text.say(", as its ").ink(Ink::Namespace, "pid").say(" namespace ends"),
                false => text.say(", as its parent ignores ").ink(Ink::Signal, "SIGCHLD"),
            };
        }
        if let Some(ns) = zombie_ns {
            text = text.ink(Ink::Dim, &format!(", a zombie for {}", words::milliseconds(ns)));
        }
        (who, text)
    }

    fn signal(
        &mut self,
        current: TaskRef,
        signal: u32,
        si_code: i32,
        target: TaskRef,
        group: bool,
        result: SignalResult,
    ) -> (String, Text) {
        // signal(7), sigaction(2): positive codes are the kernel's; the current task is where it came about.
        let by_kernel = si_code > 0;
        let to_itself = current.tgid == target.tgid;
        let who = if by_kernel { KERNEL.to_owned() } else { self.memory.process(current.tgid) };
        let whom = if to_itself && !by_kernel { Text::of("itself") } else { self.object(target.tgid) };
        let thread = if group { String::new() } else { format!("thread {} of ", target.tid) };
        let text =
            Text::of("sends ").ink(Ink::Signal, &words::signal(signal)).say(" to ").say(&thread).then(whom);
        let why = if let Some(change) = words::change_of_child(signal, si_code) {
            Text::of(&format!(" for a child that {change}"))
        } else if by_kernel && !to_itself {
            // PID 1 of a namespace has ended when the kernel kills the others in it.
            let does = if self.memory.has_ended(current.tgid) { " ends" } else { " runs" };
            Text::of(" as ").then(self.object(current.tgid)).say(does)
        } else {
            Text::default()
        };
        let became = match result {
            SignalResult::Delivered => "",
            SignalResult::Ignored if self.memory.has_ended(target.tgid) => ", which has ended",
            SignalResult::Ignored => ", which ignores it",
            SignalResult::AlreadyPending => ", which has one pending",
            SignalResult::OverflowFail => ", whose queue is full: refused",
            SignalResult::LoseInfo => ", without its details",
        };
        let comma = if became.is_empty() || why.is_empty() { "" } else { "," };
        (who, text.say(became).say(comma).then(why))
    }

    fn oom(
        &mut self,
        task: TaskRef,
        cgroup_id: u64,
        constraint: Option<OomConstraint>,
        limit: Option<u64>,
    ) -> Text {
        let victim = self.object(task.tgid);
        let place = self.memory.cgroup(cgroup_id);
        let text = Text::of("is ")
            .ink(Ink::Bad, "out of memory")
            .say(", chooses ")
            .then(victim)
            .say(" in ")
            .then(place)
            .say(" to die");
        match (constraint, limit) {
            (Some(OomConstraint::Memcg), Some(id)) => text.say(": limit of ").then(self.memory.cgroup(id)),
            (Some(OomConstraint::Memcg), None) => text.say(": limit of a memory cgroup"),
            (Some(OomConstraint::Cpuset), _) => text.say(": memory nodes of its cpuset"),
            (Some(OomConstraint::MemoryPolicy), _) => text.say(": its NUMA policy"),
            (Some(OomConstraint::Global), _) => text.say(": the whole machine"),
            (None, _) => text,
        }
    }

    /// A cgroup of any hierarchy; v2 goes without saying.
    fn hierarchical(&self, hierarchy: u32, path: &str) -> Text {
        let text = Text::of("cgroup ").ink(Ink::Cgroup, path);
        if hierarchy == 0 {
            return text;
        }
        let named = self.memory.machine.as_ref().and_then(|machine| machine.hierarchy(hierarchy));
        let name = named.map_or_else(|| format!("hierarchy {hierarchy}"), str::to_owned);
        text.ink(Ink::Dim, &format!(" (v1 {name})"))
    }

    fn cgroup_write(&mut self, id: u64, file: &str, value: &str, ret: i64) -> Text {
        let cgroup = self.memory.cgroup(id);
        let text = match file {
            "cgroup.subtree_control" => {
                does(ret, "sets", "set").say("controllers ").say(value).say(" below ").then(cgroup)
            }
            "cgroup.kill" => does(ret, "kills", "kill").say("all in ").then(cgroup),
            _ => {
                let text = does(ret, "writes", "write").say(value).say(" to ");
                text.ink(Ink::Path, file).say(" of ").then(cgroup)
            }
        };
        text.then(result(ret))
    }

    fn setns(&mut self, current: TaskRef, nstype: u32, ret: i64, before: &NsSet, after: &NsSet) -> Text {
        let asked = words::new_namespaces(u64::from(nstype));
        let names: Vec<&str> = asked.iter().map(|kind| kind.proc_name()).collect();
        if ret < 0 {
            let text = match names.as_slice() {
                [] => Text::of("cannot join a namespace"),
                [name] => Text::of("cannot join a ").ink(Ink::Namespace, name).say(" namespace"),
                names => Text::of("cannot join ").ink(Ink::Namespace, &names.join(" ")).say(" namespaces"),
            };
            return text.then(result(ret));
        }
        // Without a record of the entry, what the call asked for is what it got.
        let joined = if *before == NsSet::default() {
            let now = |kind: NsKind| match kind {
                NsKind::Pid => after.pid_for_children,
                kind => after.get(kind),
            };
            asked.iter().filter_map(|kind| Some((*kind, now(*kind)?))).collect()
        } else {
            words::changes(before, after)
        };
        let mut text = Text::of("joins ");
        if joined.is_empty() {
            text = match names.as_slice() {
                [name] => text.say("the ").ink(Ink::Namespace, name).say(" namespace that it is in"),
                _ => text.say("a namespace that it is in"),
            };
        }
        for (index, (kind, inode)) in joined.into_iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            text = text.say(separator).then(self.memory.namespace(kind, inode, current.tgid));
            if matches!(kind, NsKind::PidForChildren | NsKind::TimeForChildren) {
                text = text.say(" for its children");
            }
        }
        text.say(&only_thread(current))
    }
}
