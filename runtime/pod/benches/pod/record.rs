//! What the measuring program prints, one JSON object a line. It and the program that computes the medians both compile
//! this file.

use serde::{Deserialize, Serialize};

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Case {
    /// From nothing to a sandbox and two containers that run.
    Start,
    /// From there to nothing: the containers are asked to end, and all is removed.
    Stop,
}

/// A process that stays with a pod beside the programs of its containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Keeper {
    /// podrt's, one for each pod.
    Supervisor,
    /// The sandbox's program, one for each pod.
    Pause,
    /// podman's, one for each container, the sandbox among them.
    Conmon,
}

/// One line of the measuring program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(crate) enum Record {
    /// Once, first.
    Machine { kernel: String, cpu: String, n_cpus: usize },
    /// One subject's turn in a round.
    Time { case: Case, subject: String, round: u32, ns: u64 },
    /// The subject cannot do this here; what was measured of it before does not count.
    Unavailable { subject: String, reason: String },
    /// A process of an idle pod, which is one of so many: `Rss`, `Pss` and private of smaps_rollup.
    Memory { keeper: Keeper, n_pods: u32, resident_bytes: u64, proportional_bytes: u64, private_bytes: u64 },
    /// The start of a pod while so many others run.
    Growth { others: u32, ns: u64 },
    /// From the end of a container's process, as the kernel sees it, to the exec of the same program in the next.
    Restart { ns: u64 },
}
