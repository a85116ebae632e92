//! A cgroup that is there, or was.

use std::path::{Path, PathBuf};
use std::time::Duration;

use podproof_ebpf::counters::Counts;

use super::{First, Lost, Names, Place, Sums};
use crate::cgroups::{FileCounters, FileGauges};

/// One cgroup, and the series that it counts for.
#[derive(Debug)]
pub(crate) struct Member {
    /// `None` when it was gone before anybody saw its path.
    pub(crate) path: Option<PathBuf>,
    /// The series that it counts for; `None` while it waits for its names, and for who has none or lost them to a newer pod.
    pub(crate) names: Option<Names>,
    /// Uid of its pod; empty while it is not known, and when there is none.
    pub(super) pod_uid: String,
    /// A newer pod has its names.
    pub(crate) is_displaced: bool,
    /// What it had counted when it lost them, which was shown under them; empty if it never had them, and `None` until it is known.
    pub(super) before: Option<Sums>,
    /// These are ids, shown since nothing better was known.
    pub(crate) is_provisional: bool,
    /// Since boot.
    pub(crate) seen_at: Duration,
    /// It is the container's or the pod's own, not one below.
    pub(crate) is_top: bool,
    pub(crate) place: Place,
    /// What its files said last.
    pub(super) files: FileCounters,
    pub(super) gauges: FileGauges,
    pub(super) first: Option<First>,
    /// Since boot.
    pub(crate) removed_at: Option<Duration>,
}

impl Member {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            path: None,
            names: None,
            pod_uid: String::new(),
            is_displaced: false,
            before: None,
            is_provisional: false,
            seen_at: now,
            is_top: false,
            place: Place::Below,
            files: FileCounters::default(),
            gauges: FileGauges::default(),
            first: None,
            removed_at: None,
        }
    }

    /// Why what it has counted is nobody's; `None` when it is somebody's, or waits to become so.
    pub(super) fn lost(&self) -> Option<Lost> {
        let has_none = self.path.is_none() || self.is_displaced;
        (self.names.is_none() && has_none).then_some(Lost::NoCgroup)
    }

    /// It counts for nobody from here on.
    pub(super) fn displace(&mut self, was_shown: bool) {
        (self.names, self.is_displaced) = (None, true);
        self.before = (!was_shown).then(Sums::default);
    }

    /// Adds what of its counts is nobody's.
    pub(super) fn add_lost(&self, counts: &Counts, sums: &mut Sums) {
        match &self.before {
            Some(before) => sums.add_since(before, counts, self.place),
            None if self.is_displaced => {}
            None => sums.add(counts, Place::Below),
        }
    }

    /// Its path while it is there.
    pub(super) fn live(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.removed_at.is_none())
    }
}
