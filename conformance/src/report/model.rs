//! `report.json`, schema 1 (docs/report.md). New fields may be added; none changes its meaning.

use serde::{Deserialize, Serialize};

use crate::evidence::Fact;

/// A whole report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Version of the format: 1.
    pub schema: u32,
    /// Version of podproof.
    pub podproof: String,
    /// One run per runtime and kernel.
    pub runs: Vec<RunReport>,
}

impl Report {
    /// A report of these runs.
    #[must_use]
    pub fn new(runs: Vec<RunReport>) -> Self {
        Self { schema: 1, podproof: env!("CARGO_PKG_VERSION").to_owned(), runs }
    }
}

/// The runtime of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RuntimeReport {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Its version.
    pub version: String,
}

/// The sandbox program of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxReport {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

/// A probe and whether it could be attached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProbeReport {
    /// The hook.
    pub name: String,
    /// `tp_btf`, `fentry`.
    pub mechanism: String,
    /// It is attached.
    pub attached: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One runtime on one kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunReport {
    /// The runtime.
    pub runtime: RuntimeReport,
    /// What drove it.
    pub adapter: String,
    /// The sandbox program.
    pub sandbox: SandboxReport,
    /// Kernel release (uname(2)).
    pub kernel: String,
    /// `vm-tcg`, `vm-kvm` or `host`.
    pub machine: String,
    /// Wall time of the whole run, milliseconds.
    pub wall_ms: u64,
    /// The probes.
    pub probes: Vec<ProbeReport>,
    /// Records that the ring had no room for, all scopes together; `u64::MAX` when their number is not known.
    pub events_lost: u64,
    /// Verdicts.
    pub checks: Vec<CheckReport>,
    /// Why the run ended early, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<String>,
    /// What was still there after the suite had cleaned up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<String>,
}

impl RunReport {
    /// A run of which nothing is known but its kernel.
    #[must_use]
    pub fn unborn(kernel: &str) -> Self {
        let unknown = || "unknown".to_owned();
        Self {
            runtime: RuntimeReport { name: unknown(), path: unknown(), version: String::new() },
            adapter: "oci".to_owned(),
            sandbox: SandboxReport { name: "pause".to_owned(), path: unknown(), sha256: unknown() },
            kernel: kernel.to_owned(),
            machine: "vm".to_owned(),
            wall_ms: 0,
            probes: Vec::new(),
            events_lost: 0,
            checks: Vec::new(),
            ended_early: None,
            left_behind: Vec::new(),
        }
    }
}

/// One verdict.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckReport {
    /// Id of the requirement.
    pub id: String,
    /// `MUST` or `SHOULD`.
    pub level: String,
    /// `runtime` or `sandbox`.
    pub subject: String,
    /// `pass`, `fail`, `skip` or `inconclusive`.
    pub verdict: String,
    /// Why; empty for a pass.
    pub reason: String,
    /// What would be right.
    pub expected: String,
    /// What was seen.
    pub observed: String,
    /// Facts of the witness inside.
    pub inside: Vec<Fact>,
    /// Facts of the kernel.
    pub kernel: Vec<Fact>,
    /// Lines of the trace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<String>,
    /// Records of the check's own scope that were lost; `u64::MAX` when their number is not known.
    #[serde(default)]
    pub events_lost: u64,
    /// Objects that the runtime left behind although everything was deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaked: Vec<String>,
    /// Wall time, milliseconds.
    pub wall_ms: u64,
}
