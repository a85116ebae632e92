//! Requirements as data: what is asked of a runtime, by whom, and how it is judged.

use clap::ValueEnum;
use serde::Serialize;

/// How binding a requirement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Level {
    /// A violation fails the run.
    #[serde(rename = "MUST")]
    Must,
    /// A violation is reported only.
    #[serde(rename = "SHOULD")]
    Should,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
        })
    }
}

/// What a requirement judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The runtime.
    Runtime,
    /// The program that holds the sandbox (pause).
    Sandbox,
    /// The pod layer: what restarts, stops and reports the containers of a pod.
    Pod,
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Runtime => "the runtime",
            Self::Sandbox => "the sandbox program (pause)",
            Self::Pod => "the pod layer",
        })
    }
}

/// What drives the subject of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Adapter {
    /// The command line of an OCI runtime; pods are made by joining namespaces by path.
    Oci,
    /// The pod layer of podrt, with its manifests.
    Podrt,
}

impl std::fmt::Display for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Oci => "oci",
            Self::Podrt => "podrt",
        })
    }
}

/// One requirement.
#[derive(Debug, Clone, Copy)]
pub struct Requirement {
    /// Stable id: `NS-01`.
    pub id: &'static str,
    /// A short name for test lists: lower case, underscores.
    pub name: &'static str,
    /// How binding.
    pub level: Level,
    /// What must hold.
    pub statement: &'static str,
    /// The clause that asks for it.
    pub source: &'static str,
    /// What is judged.
    pub subject: Subject,
    /// What can drive it.
    pub adapters: &'static [Adapter],
    /// What the suite arranges and does.
    pub scenario: &'static str,
    /// What the witness inside shows.
    pub inside: &'static str,
    /// What the kernel shows.
    pub kernel: &'static str,
    /// The deliberate defects that prove the check can fail: name, and what it does.
    pub defects: &'static [(&'static str, &'static str)],
}

impl Requirement {
    /// Whether this adapter can drive its check.
    #[must_use]
    pub fn has(&self, adapter: Adapter) -> bool {
        self.adapters.contains(&adapter)
    }

    /// What drives it where only one run is wanted: its first adapter.
    #[must_use]
    pub fn first_adapter(&self) -> Adapter {
        self.adapters.first().copied().unwrap_or(Adapter::Oci)
    }

    /// The area: the letters before the number.
    #[must_use]
    pub fn area(&self) -> &'static str {
        self.id.split('-').next().unwrap_or(self.id)
    }

    /// What the area is about.
    #[must_use]
    pub fn area_title(&self) -> &'static str {
        match self.area() {
            "NS" => "namespace sharing and isolation",
            "PID" => "PID 1 and process identity",
            "REAP" => "zombie reaping",
            "SIG" => "signals and termination",
            "CG" => "cgroup v2 limits",
            "LIFE" => "life cycle",
            "NET" => "pod network",
            "FS" => "file system",
            "SEC" => "isolation and security",
            "ROBUST" => "robustness",
            _ => "",
        }
    }
}
