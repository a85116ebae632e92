//! Hand-built events.

use podproof_ebpf::event::{Event, EventKind, NsSet, SignalResult, TaskRef, TaskView};

/// The one thread of a process.
pub(crate) fn task(tgid: u32) -> TaskRef {
    TaskRef { tid: tgid, tgid, start_ns: u64::from(tgid) * 1000 }
}

/// A process in no namespace that matters, in cgroup 1.
pub(crate) fn view(tgid: u32, ns_pids: &[u32]) -> TaskView {
    TaskView {
        task: task(tgid),
        ns_pids: ns_pids.to_vec(),
        ns: NsSet::default(),
        cgroup_id: 1,
        parent: task(10),
        parent_pid_ns: None,
    }
}

/// A birth; a thread of process 10 with `CLONE_THREAD`.
pub(crate) fn born(tid: u32, ns_pids: &[u32], flags: u64) -> EventKind {
    let mut child = view(tid, ns_pids);
    if flags & crate::observe::trace::CLONE_THREAD != 0 {
        child.task.tgid = 10;
    }
    EventKind::NewTask { child, flags, exit_signal: 17 }
}

/// An end.
pub(crate) fn exit(tgid: u32, status: u32, group_dead: bool) -> EventKind {
    EventKind::Exit { task: view(tgid, &[tgid]), status, group_dead, oom: None, tracer: None }
}

/// A signal that arrives.
pub(crate) fn signal(signal: u32, si_code: i32, target: u32) -> EventKind {
    EventKind::SignalGenerate {
        signal,
        si_code,
        target: task(target),
        target_ns_pids: vec![target],
        group: true,
        result: SignalResult::Delivered,
    }
}

/// Events of one trace, each a millisecond after the one before.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) events: Vec<Event>,
}

impl Story {
    /// Adds an event of the main thread of a process with this name.
    pub(crate) fn add(&mut self, comm: &str, tgid: u32, kind: EventKind) -> &mut Self {
        let seq = self.events.len() as u64 + 1;
        self.events.push(Event {
            seq,
            time_ns: 5_000_000_000 + seq * 1_000_000,
            cpu: 0,
            scope: 1,
            current: task(tgid),
            comm: comm.to_owned(),
            source: "tp_btf/hook".to_owned(),
            kind,
        });
        self
    }
}
