//! How it went to find out whose the cgroups are.

use std::collections::BTreeMap;

/// Where names came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A CRI runtime.
    Cri,
    /// The names of the kubelet's log files.
    LogDir,
    /// The state of a runtime.
    OciState,
    /// The path of the cgroup, by its ids.
    CgroupPath,
}

impl Source {
    /// As the label `source` has it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Cri => "cri",
            Self::LogDir => "log_dir",
            Self::OciState => "oci_state",
            Self::CgroupPath => "cgroup_path",
        }
    }
}

/// Who told the path of a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathSource {
    /// The kernel, when the cgroup was made.
    MkdirEvent,
    /// A walk of the hierarchy.
    Walk,
}

impl PathSource {
    /// As the label `source` has it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::MkdirEvent => "mkdir_event",
            Self::Walk => "walk",
        }
    }
}

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// It was found.
    Ok,
    /// The source does not know it.
    Miss,
    /// The cgroup was gone before anybody looked.
    Gone,
    /// The source could not be read.
    Error,
}

impl Outcome {
    /// As the label `result` has it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Miss => "miss",
            Self::Gone => "gone",
            Self::Error => "error",
        }
    }
}

/// Counts since the start; all that can occur are there from the beginning.
#[derive(Debug)]
pub(crate) struct Tally {
    /// From the id of a cgroup to its path.
    pub(crate) paths: BTreeMap<(PathSource, Outcome), u64>,
    /// From the path to names.
    pub(crate) names: BTreeMap<(Source, Outcome), u64>,
    /// Containers that were folded into the overflow.
    pub(crate) n_limited: u64,
}

impl Default for Tally {
    fn default() -> Self {
        use {Outcome as O, PathSource as P, Source as S};
        let names = [
            (S::Cri, O::Ok),
            (S::Cri, O::Error),
            (S::LogDir, O::Ok),
            (S::LogDir, O::Miss),
            (S::LogDir, O::Error),
            (S::OciState, O::Ok),
            (S::OciState, O::Error),
            (S::CgroupPath, O::Ok),
        ];
        Self {
            paths: [(P::MkdirEvent, O::Ok), (P::Walk, O::Ok), (P::Walk, O::Gone)].map(|key| (key, 0)).into(),
            names: names.map(|key| (key, 0)).into(),
            n_limited: 0,
        }
    }
}

impl Tally {
    pub(crate) fn path(&mut self, source: PathSource, outcome: Outcome) {
        *self.paths.entry((source, outcome)).or_insert(0) += 1;
    }

    pub(crate) fn names(&mut self, source: Source, outcome: Outcome) {
        *self.names.entry((source, outcome)).or_insert(0) += 1;
    }
}
