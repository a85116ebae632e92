//! The trace as a document for trace viewers: Trace Event Format, which Perfetto and `chrome://tracing` open.
//!
//! Each process of the trace is a process there, each task a lane in it. A lane has the life of its task, from birth to
//! end, in it the programs that it executed, and after it its time as a zombie. Arrows lead from a clone to its child;
//! everything else is an instant on the lane of the task that did it, with the line of [`super::Narrator`].

use std::collections::{BTreeMap, HashMap, HashSet};

use podproof_ebpf::event::{Event, EventKind};
use serde::Serialize;
use serde_json::{Map, Value};

use super::line::Line;
use crate::observe::trace::CLONE_THREAD;

/// The whole document.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// In the order of their times; names of processes and lanes first.
    pub trace_events: Vec<TraceEvent>,
    /// The unit that a viewer shows.
    pub display_time_unit: &'static str,
}

/// What an entry is (`ph`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// A slice with its duration.
    #[serde(rename = "X")]
    Complete,
    /// A moment.
    #[serde(rename = "i")]
    Instant,
    /// The begin of an arrow.
    #[serde(rename = "s")]
    FlowStart,
    /// Its end.
    #[serde(rename = "f")]
    FlowEnd,
    /// A name for a process or lane.
    #[serde(rename = "M")]
    Metadata,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceEvent {
    /// What the viewer shows.
    pub name: String,
    /// Category, to filter by.
    pub cat: &'static str,
    /// What it is.
    pub ph: Phase,
    /// Microseconds since the first event.
    pub ts: f64,
    /// Duration of a slice in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dur: Option<f64>,
    /// The process: its thread group id on the node.
    pub pid: u32,
    /// The lane: the thread id on the node.
    pub tid: u32,
    /// Which arrow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Where an arrow ends: at the slice around that moment (`e`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bp: Option<&'static str>,
    /// How far an instant reaches: its lane (`t`) or everything (`g`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s: Option<&'static str>,
    /// Details.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Value>,
}

/// A task that lives.
#[derive(Debug)]
struct Life {
    tgid: u32,
    since_ns: u64,
    /// The program that runs, and since when; threads have none of their own.
    program: Option<(String, u64)>,
}

/// Collects events for a document.
#[derive(Debug, Default)]
pub struct Chrome {
    entries: Vec<TraceEvent>,
    first_ns: Option<u64>,
    last_ns: u64,
    /// By thread id.
    lives: BTreeMap<u32, Life>,
    /// Processes that are dead and not reaped, with the begin of that.
    zombies: BTreeMap<u32, u64>,
    /// Names of processes, in the order in which they came.
    names: Vec<(u32, String)>,
    index: HashMap<u32, usize>,
    threads: HashSet<(u32, u32)>,
    n_arrows: u64,
}

impl Chrome {
    /// Adds an event with its line. Events come in the order of the trace.
    pub fn add(&mut self, event: &Event, line: &Line) {
        let now = event.time_ns;
        self.first_ns.get_or_insert(now);
        self.last_ns = self.last_ns.max(now);
        let (pid, tid) = (event.current.tgid, event.current.tid);
        let text = line.sentence();
        // What frees a task is unrelated to it.
        if pid != 0 && !matches!(event.kind, EventKind::Free { .. }) {
            self.call(pid, tid, &event.comm, false);
        }
        match &event.kind {
            EventKind::NewTask { child, flags, .. } => {
                let (child_pid, child_tid) = (child.task.tgid, child.task.tid);
                self.ensure_life(pid, tid, &event.comm, now);
                // A number that comes back belongs to somebody else.
                self.end_life(child_tid, now, &[]);
                self.call(child_pid, child_tid, &event.comm, true);
                let program = (flags & CLONE_THREAD == 0).then(|| (event.comm.clone(), now));
                self.lives.insert(child_tid, Life { tgid: child_pid, since_ns: now, program });
                self.n_arrows += 1;
                let id = Some(self.n_arrows);
                let args = told(&text, event);
                let start = self.entry("clone", "clone", Phase::FlowStart, now, pid, tid);
                self.entries.push(TraceEvent { id, args, ..start });
                let end = self.entry("clone", "clone", Phase::FlowEnd, now, child_pid, child_tid);
                self.entries.push(TraceEvent { id, bp: Some("e"), ..end });
                self.instant("clone", "clone", event, &text);
            }
            EventKind::Exec { task, filename, .. } => {
                let (pid, tid) = (task.task.tgid, task.task.tid);
                self.call(pid, tid, &event.comm, true);
                self.ensure_life(pid, tid, &event.comm, now);
                let name = program(filename, &event.comm).to_owned();
                let before = self.lives.get_mut(&tid).and_then(|life| life.program.replace((name, now)));
                self.end_program(pid, tid, before, now);
                self.instant("exec", "exec", event, &text);
            }
            EventKind::Exit { task, .. } => {
                let (pid, tid) = (task.task.tgid, task.task.tid);
                self.ensure_life(pid, tid, &event.comm, now);
                self.end_life(tid, now, &[("end", &text)]);
            }
            EventKind::ZombieStart { task, .. } => {
                self.zombies.insert(task.tgid, now);
            }
            EventKind::Reap { task, zombie_ns, .. } => {
                let since = self.zombies.remove(&task.tgid).filter(|_| task.tid == task.tgid);
                let since = since.or_else(|| zombie_ns.map(|ns| now.saturating_sub(ns)));
                if let Some(since) = since {
                    self.slice("zombie", "zombie", task.tgid, task.tgid, since, now, &[("end", &text)]);
                }
                self.instant("reap", "reap", event, &text);
            }
            EventKind::Free { task } => {
                let args = told(&text, event);
                let entry = self.entry("freed", "free", Phase::Instant, now, task.tgid, task.tid);
                self.entries.push(TraceEvent { s: Some("t"), args, ..entry });
            }
            EventKind::Gap { .. } => {
                let entry = self.entry(&text, "gap", Phase::Instant, now, pid, tid);
                self.entries.push(TraceEvent { s: Some("g"), ..entry });
            }
            other => {
                let (name, category) = name(other);
                self.instant(name, category, event, &text);
            }
        }
    }

    /// Ends what goes on, and orders everything.
    #[must_use]
    pub fn finish(mut self) -> Document {
        let now = self.last_ns;
        let living: Vec<u32> = self.lives.keys().copied().collect();
        for tid in living {
            self.end_life(tid, now, &[("end", "alive when the trace ended")]);
        }
        for (tgid, since) in std::mem::take(&mut self.zombies) {
            let end = [("end", "not reaped when the trace ended")];
            self.slice("zombie", "zombie", tgid, tgid, since, now, &end);
        }
        // At one moment the longer slice is the outer one.
        let longest = |entry: &TraceEvent| entry.dur.unwrap_or(0.0);
        self.entries.sort_by(|a, b| a.ts.total_cmp(&b.ts).then(longest(b).total_cmp(&longest(a))));
        let mut trace_events = self.metadata();
        trace_events.extend(self.entries);
        Document { trace_events, display_time_unit: "ms" }
    }

    fn metadata(&self) -> Vec<TraceEvent> {
        let mut found = Vec::new();
        let mut push = |name: &str, pid: u32, tid: u32, key: &str, value: Value| {
            let entry = self.entry(name, "__metadata", Phase::Metadata, 0, pid, tid);
            found.push(TraceEvent { args: Map::from_iter([(key.to_owned(), value)]), ..entry });
        };
        for (index, (pid, name)) in self.names.iter().enumerate() {
            push("process_name", *pid, *pid, "name", format!("{name} {pid}").into());
            push("process_sort_index", *pid, *pid, "sort_index", index.into());
        }
        let mut threads: Vec<_> = self.threads.iter().collect();
        threads.sort_unstable();
        for (pid, tid) in threads {
            let name = if pid == tid { "main thread" } else { "thread" };
            push("thread_name", *pid, *tid, "name", name.into());
        }
        found
    }

    /// Notes a task; `renamed`: it has this name from here on.
    fn call(&mut self, pid: u32, tid: u32, name: &str, renamed: bool) {
        self.threads.insert((pid, tid));
        let index = *self.index.entry(pid).or_insert_with(|| {
            self.names.push((pid, name.to_owned()));
            self.names.len() - 1
        });
        if renamed && pid == tid {
            name.clone_into(&mut self.names[index].1);
        }
    }

    /// The life of a task from before the trace begins where it is first seen to do something.
    fn ensure_life(&mut self, pid: u32, tid: u32, name: &str, now: u64) {
        let program = (pid == tid).then(|| (name.to_owned(), now));
        self.lives.entry(tid).or_insert(Life { tgid: pid, since_ns: now, program });
    }

    fn end_life(&mut self, tid: u32, now: u64, args: &[(&str, &str)]) {
        let Some(Life { tgid, since_ns, program }) = self.lives.remove(&tid) else { return };
        let kind = if tid == tgid { "process" } else { "thread" };
        self.slice(&format!("{kind} {tid}"), kind, tgid, tid, since_ns, now, args);
        self.end_program(tgid, tid, program, now);
    }

    fn end_program(&mut self, pid: u32, tid: u32, program: Option<(String, u64)>, now: u64) {
        if let Some((name, since)) = program.filter(|(_, since)| *since < now) {
            self.slice(&name, "program", pid, tid, since, now, &[]);
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a slice has them all, and they are named where it is made"
    )]
    fn slice(
        &mut self,
        name: &str,
        cat: &'static str,
        pid: u32,
        tid: u32,
        since_ns: u64,
        until_ns: u64,
        args: &[(&str, &str)],
    ) {
        let dur = Some(micros(until_ns.saturating_sub(since_ns)));
        let args = args.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
        let entry = self.entry(name, cat, Phase::Complete, since_ns, pid, tid);
        self.entries.push(TraceEvent { dur, args, ..entry });
    }

    fn instant(&mut self, name: &str, cat: &'static str, event: &Event, text: &str) {
        let args = told(text, event);
        let current = event.current;
        let entry = self.entry(name, cat, Phase::Instant, event.time_ns, current.tgid, current.tid);
        self.entries.push(TraceEvent { s: Some("t"), args, ..entry });
    }

    fn entry(&self, name: &str, cat: &'static str, ph: Phase, at_ns: u64, pid: u32, tid: u32) -> TraceEvent {
        let ts = micros(at_ns.saturating_sub(self.first_ns.unwrap_or(at_ns)));
        let name = name.to_owned();
        TraceEvent { name, cat, ph, ts, dur: None, pid, tid, id: None, bp: None, s: None, args: Map::new() }
    }
}

/// The last part of a path, which `comm` has cut at 15 bytes; of a descriptor it would be a number.
pub(super) fn program<'n>(filename: &'n str, comm: &'n str) -> &'n str {
    match filename.rsplit_once('/') {
        Some((dir, _)) if dir.ends_with("/fd") => comm,
        Some((_, "")) => filename,
        Some((_, name)) => name,
        None => filename,
    }
}

fn micros(ns: u64) -> f64 {
    ns as f64 / 1e3
}

fn told(text: &str, event: &Event) -> Map<String, Value> {
    Map::from_iter([
        ("text".to_owned(), text.into()),
        ("source".to_owned(), event.source.as_str().into()),
        ("seq".to_owned(), event.seq.into()),
    ])
}

/// Name and category of an instant.
pub(super) fn name(kind: &EventKind) -> (&'static str, &'static str) {
    match kind {
        EventKind::NewTask { .. } => ("clone", "clone"),
        EventKind::CloneFailed { .. } => ("clone failed", "clone"),
        EventKind::Exec { .. } => ("exec", "exec"),
        EventKind::ExecFailed { .. } => ("exec failed", "exec"),
        EventKind::Exit { .. } => ("end", "exit"),
        EventKind::ZombieStart { .. } => ("zombie", "zombie"),
        EventKind::Reap { .. } => ("reap", "reap"),
        EventKind::Wait { .. } => ("wait", "wait"),
        EventKind::Free { .. } => ("freed", "free"),
        EventKind::Reparent { .. } => ("adopted", "reparent"),
        EventKind::SignalGenerate { .. } => ("signal sent", "signal"),
        EventKind::SignalDeliver { .. } => ("signal taken", "signal"),
        EventKind::OomVictim { .. } => ("OOM", "oom"),
        EventKind::CgroupMkdir { .. } => ("cgroup made", "cgroup"),
        EventKind::CgroupRmdir { .. } => ("cgroup removed", "cgroup"),
        EventKind::CgroupAttach { .. } => ("cgroup entered", "cgroup"),
        EventKind::CgroupFreeze { .. } => ("cgroup freeze", "cgroup"),
        EventKind::CgroupFrozen { .. } => ("cgroup frozen", "cgroup"),
        EventKind::CgroupPopulated { .. } => ("cgroup populated", "cgroup"),
        EventKind::CgroupWrite { .. } => ("cgroup written", "cgroup"),
        EventKind::Setns { .. } => ("setns", "namespace"),
        EventKind::Unshare { .. } => ("unshare", "namespace"),
        EventKind::Hostname { .. } => ("hostname", "namespace"),
        EventKind::Mount { .. } => ("mount", "mount"),
        EventKind::Umount { .. } => ("umount", "mount"),
        EventKind::PivotRoot { .. } => ("pivot_root", "mount"),
        EventKind::Chroot { .. } => ("chroot", "mount"),
        EventKind::Fsopen { .. } => ("fsopen", "mount"),
        EventKind::OpenTree { .. } => ("open_tree", "mount"),
        EventKind::MoveMount { .. } => ("move_mount", "mount"),
        EventKind::MountSetattr { .. } => ("mount_setattr", "mount"),
        EventKind::Shmget { .. } => ("shmget", "ipc"),
        EventKind::Shmat { .. } => ("shmat", "ipc"),
        EventKind::Gap { .. } => ("records lost", "gap"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Narrator;
    use crate::trace::sample::{Story, born, exit, signal, task, view};
    use podproof_ebpf::event::{Creds, ReapSource, Reaper};

    fn document(story: &Story) -> Document {
        let (mut chrome, mut narrator) = (Chrome::default(), Narrator::new());
        for event in &story.events {
            let line = narrator.tell(event);
            chrome.add(event, &line);
        }
        chrome.finish()
    }

    fn exec(tgid: u32, filename: &str) -> EventKind {
        let creds = Creds {
            uid: 0,
            gid: 0,
            cap_inheritable: 0,
            cap_permitted: 0,
            cap_effective: 0,
            cap_bounding: 0,
            cap_ambient: 0,
            no_new_privs: false,
            seccomp_mode: 0,
        };
        EventKind::Exec {
            task: view(tgid, &[tgid]),
            filename: filename.into(),
            old_tid: tgid,
            creds,
            root: None,
        }
    }

    /// sh (10) clones 11, which executes true, ends, and is reaped; 12 lives on; records are lost.
    fn story() -> Story {
        let mut story = Story::default();
        let reap = EventKind::Reap {
            task: task(11),
            ns_pids: vec![11],
            by: ReapSource::ReleaseTask,
            reaper: Reaper::Parent,
            zombie_ns: None,
        };
        story
            .add("sh", 10, born(11, &[11], 0))
            .add("true", 11, exec(11, "/bin/true"))
            .add("sh", 10, signal(15, 0, 11))
            .add("true", 11, exit(11, 15, true))
            .add("true", 11, EventKind::ZombieStart { task: task(11), parent: task(10), si_code: 2 })
            .add("sh", 10, EventKind::Gap { lost: 3 })
            .add("sh", 10, reap)
            .add("sh", 10, born(12, &[12], 0))
            .add("sh", 10, exit(10, 0, true));
        story
    }

    fn slices<'d>(document: &'d Document, name: &str) -> Vec<&'d TraceEvent> {
        let is_wanted = |entry: &&TraceEvent| entry.ph == Phase::Complete && entry.name == name;
        document.trace_events.iter().filter(is_wanted).collect()
    }

    #[test]
    fn lives_programs_and_zombies_are_slices() {
        let document = document(&story());
        let span = |entry: &TraceEvent| (entry.ts, entry.dur.unwrap());
        assert_eq!(span(slices(&document, "process 11")[0]), (0.0, 3000.0));
        assert_eq!(span(slices(&document, "true")[0]), (1000.0, 2000.0));
        assert_eq!(span(slices(&document, "zombie")[0]), (4000.0, 2000.0));
        assert_eq!(slices(&document, "zombie").len(), 1);
        assert!(slices(&document, "sh").iter().all(|slice| slice.dur > Some(0.0)));
        let alive = slices(&document, "process 12")[0];
        assert_eq!(alive.args["end"], "alive when the trace ended");
    }

    #[test]
    fn arrows_lead_from_a_clone_into_the_life_of_its_child() {
        let document = document(&story());
        let arrow = |phase| {
            let is_wanted = |entry: &&TraceEvent| entry.ph == phase && entry.id == Some(1);
            document.trace_events.iter().find(is_wanted).unwrap()
        };
        let (start, end) = (arrow(Phase::FlowStart), arrow(Phase::FlowEnd));
        assert_eq!((start.pid, end.pid, end.bp), (10, 11, Some("e")));
        for entry in [start, end] {
            let life = slices(&document, &format!("process {}", entry.pid))[0];
            assert!(life.ts <= entry.ts && entry.ts <= life.ts + life.dur.unwrap());
        }
    }

    #[test]
    fn the_document_is_what_viewers_read() {
        let document = document(&story());
        let value = serde_json::to_value(&document).unwrap();
        assert_eq!(value["displayTimeUnit"], "ms");
        let entries = value["traceEvents"].as_array().unwrap();
        let mut last = 0.0;
        for entry in entries {
            for key in ["name", "cat", "ph", "ts", "pid", "tid"] {
                assert!(entry.get(key).is_some(), "no {key} in {entry}");
            }
            let ts = entry["ts"].as_f64().unwrap();
            assert!(ts >= last, "{entry} after {last}");
            last = ts;
            match entry["ph"].as_str().unwrap() {
                "X" => assert!(entry["dur"].as_f64().unwrap() >= 0.0),
                "i" => assert!(["t", "g"].contains(&entry["s"].as_str().unwrap())),
                "s" | "f" => assert!(entry["id"].is_u64()),
                "M" => assert_eq!(entry["args"].as_object().unwrap().len(), 1),
                other => panic!("phase {other}"),
            }
        }
        let named = |name: &str| entries.iter().any(|entry| entry["args"]["name"] == name);
        assert!(named("sh 10") && named("true 11"));
    }

    #[test]
    fn a_gap_reaches_over_everything_and_other_events_have_their_words() {
        let document = document(&story());
        let find = |name: &str| document.trace_events.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(find("3 records lost here").s, Some("g"));
        assert_eq!(find("signal sent").args["text"], "sh 10 sends SIGTERM to true 11");
    }

    #[test]
    fn a_program_has_the_last_part_of_its_path() {
        assert_eq!(program("/opt/a-name-of-many-letters", "a-name-of-many-"), "a-name-of-many-letters");
        assert_eq!(program("app", "app"), "app");
        assert_eq!(program("/dev/fd/6", "memfd:runc_clon"), "memfd:runc_clon");
        assert_eq!(program("/proc/self/fd/6", "app"), "app");
    }

    #[test]
    fn a_number_that_comes_back_begins_another_life() {
        let mut story = Story::default();
        story.add("sh", 10, born(11, &[11], 0)).add("sh", 10, born(11, &[11], 0));
        assert_eq!(slices(&document(&story), "process 11").len(), 2);
    }

    #[test]
    fn nothing_is_a_document_too() {
        assert!(document(&Story::default()).trace_events.is_empty());
    }
}
