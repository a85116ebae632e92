//! `report.json`, schema 1 (docs/report.md). New fields may be added; none changes its meaning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::timeline::Timeline;
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
    /// What it was called with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// It is another one than podproof's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_other: bool,
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
    /// The command that judges this runtime on this kernel again; the ids of checks go behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<String>,
    /// What repeating the checks showed, when they were repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Repeats>,
}

/// What repeating showed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// How many times each check was played.
    pub rounds: u32,
    /// Checks whose verdict changed, with what each round came to.
    pub changed: BTreeMap<String, Vec<Round>>,
}

/// What one round of a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// The verdict.
    pub verdict: String,
    /// Why; empty for a pass.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl RunReport {
    /// The release without what distributions add: `6.12.117`.
    #[must_use]
    pub fn kernel_version(&self) -> &str {
        let end = self.kernel.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.kernel.len());
        self.kernel[..end].trim_end_matches('.')
    }

    /// The series of its kernel: `6.12`.
    #[must_use]
    pub fn kernel_series(&self) -> String {
        self.kernel_version().split('.').take(2).collect::<Vec<_>>().join(".")
    }

    /// What was judged: the runtime, and by what it was driven where that is not its own command line.
    #[must_use]
    pub fn subject(&self) -> String {
        let name = &self.runtime.name;
        let driven = match self.adapter.as_str() {
            "oci" => name.clone(),
            "podrt" => format!("{name} pods"),
            adapter => format!("{name} by {adapter}"),
        };
        if self.sandbox.is_other { format!("{} in {driven}", self.sandbox.name) } else { driven }
    }

    /// `runc 1.1.5 on 6.12.117 vm-tcg`.
    #[must_use]
    pub fn title(&self) -> String {
        let (name, version) = (self.subject(), &self.runtime.version);
        format!("{name} {version} on {} {}", self.kernel_version(), self.machine)
    }

    /// A run of which nothing is known but its kernel.
    #[must_use]
    pub fn unborn(kernel: &str) -> Self {
        let unknown = || "unknown".to_owned();
        Self {
            runtime: RuntimeReport { name: unknown(), path: unknown(), version: String::new() },
            adapter: "oci".to_owned(),
            sandbox: SandboxReport {
                name: "pause".to_owned(),
                path: unknown(),
                sha256: unknown(),
                arguments: Vec::new(),
                is_other: false,
            },
            kernel: kernel.to_owned(),
            machine: "vm".to_owned(),
            wall_ms: 0,
            probes: Vec::new(),
            events_lost: 0,
            checks: Vec::new(),
            ended_early: None,
            left_behind: Vec::new(),
            again: None,
            repeats: None,
        }
    }
}

/// One verdict.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CheckReport {
    /// Id of the requirement.
    pub id: String,
    /// Its short name, in words.
    #[serde(default)]
    pub name: String,
    /// What must hold.
    #[serde(default)]
    pub statement: String,
    /// The clause that asks for it.
    #[serde(default)]
    pub clause: String,
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
    /// The line of the baseline that explains it, when it is a known failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// Wall time, milliseconds.
    pub wall_ms: u64,
    /// The life of its pod; absent without probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
}

impl CheckReport {
    /// The area: the letters before the number.
    #[must_use]
    pub fn area(&self) -> &str {
        self.id.split('-').next().unwrap_or(&self.id)
    }

    /// A failed MUST, a failed SHOULD, or nothing certain: what a reader has to look at.
    #[must_use]
    pub fn is_red(&self) -> bool {
        self.verdict == "fail" || self.verdict == "inconclusive"
    }
}
