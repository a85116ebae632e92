//! What the measuring program prints, one JSON object a line. It and the program that computes the medians both compile
//! this file.

use serde::{Deserialize, Serialize};

/// One line of the measuring program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(crate) enum Record {
    /// Once, first.
    Machine { kernel: String, cpu: String, n_cpus: usize },
    /// CPU time of the reference work, in ns.
    Reference { cpu_ns: u64 },
    /// One subject's turn in a round.
    Scrape(Scrape),
    /// After all scrapes of so many containers: `Rss` of smaps_rollup, and the most that it ever was (`VmHWM`).
    Memory { subject: String, n_containers: u32, resident_bytes: u64, peak_bytes: u64 },
    /// Quiet containers, scraped as Prometheus does it.
    Idle { n_containers: u32, n_scrapes: u32, interval_s: u64, wall_ns: u64, cpu_ns: u64 },
}

/// A scrape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scrape {
    pub(crate) subject: String,
    pub(crate) n_containers: u32,
    pub(crate) round: u32,
    /// From the connection to the last byte of the answer.
    pub(crate) wall_ns: u64,
    /// Of all threads of the subject, until it rests again.
    pub(crate) cpu_ns: u64,
    pub(crate) n_samples: u64,
    pub(crate) n_bytes: u64,
}
