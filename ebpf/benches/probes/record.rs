//! What the measuring program prints, one JSON object a line. It and the program that computes the medians both compile
//! this file.

use serde::{Deserialize, Serialize};

/// An operation of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Case {
    /// getpid(2): raises no event, and shows what a system call pays.
    Getpid,
    /// fork(2), `_exit`(2), wait4(2).
    ForkExitWait,
    /// clone(2) as vfork(2) does it, execve(2) of a static program that only exits, wait4(2).
    VforkExecWait,
    /// setns(2) to the uts namespace that the worker is in.
    Setns,
    /// unshare(2) of the uts namespace.
    Unshare,
    /// clone3(2) with new uts, ipc, mnt, pid and cgroup namespaces, `_exit`(2), wait4(2).
    Clone3FiveNamespaces,
}

impl Case {
    pub(crate) const ALL: [Self; 6] = [
        Self::Getpid,
        Self::ForkExitWait,
        Self::VforkExecWait,
        Self::Setns,
        Self::Unshare,
        Self::Clone3FiveNamespaces,
    ];
}

/// What watches the worker while it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Subject {
    /// Nothing, once more: the noise floor.
    Control,
    /// The probes count.
    Counters,
    /// They count, and record the events of the worker.
    CountersEvents,
    /// The same with the system call hooks.
    FullEvidence,
    /// bpftrace counting the same four events.
    BpftraceCount,
    /// bpftrace printing each of them.
    BpftracePrintf,
    /// execsnoop and exitsnoop, of libbpf-tools.
    ExecsnoopExitsnoop,
}

impl Subject {
    pub(crate) const OWN: [Self; 3] = [Self::Counters, Self::CountersEvents, Self::FullEvidence];
    pub(crate) const PEERS: [Self; 3] = [Self::BpftraceCount, Self::BpftracePrintf, Self::ExecsnoopExitsnoop];
}

/// The runs of one BPF program between two readings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgramRuns {
    pub(crate) name: String,
    pub(crate) runs: u64,
    /// Time in the program, all runs together.
    pub(crate) time_ns: u64,
}

/// One line of the measuring program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(crate) enum Record {
    /// Once, first.
    Machine { kernel: String, cpu: String, n_cpus: usize, worker_cpu: usize },
    /// Two blocks of the same operations next to each other in time, the first watched and the second not.
    Pair { subject: Subject, case: Case, ops: u64, watched_ns: u64, alone_ns: u64 },
    /// Events that the subject itself reports as lost, in all of its blocks.
    Lost { subject: Subject, events: u64 },
    /// The subject does not work here; what was measured of it before does not count.
    Unavailable { subject: Subject, reason: String },
    /// What the programs of a subject did during so many operations, by the kernel's BPF statistics.
    Programs { subject: Subject, case: Case, ops: u64, programs: Vec<ProgramRuns> },
    /// Two workers that fork as fast as they can; without a ring nothing watches them.
    Storm { ring_bytes: Option<u32>, forks: u64, events: u64, lost: u64, wall_ns: u64 },
}
