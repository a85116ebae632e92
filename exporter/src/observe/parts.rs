//! The parts of an observation: each may fail by itself, and is timed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::ObserveError;

/// A part, as the label `collector` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Which cgroups there are, and whose.
    Cgroups,
    /// The kernel's promise to count for those that are new.
    Counting,
    /// Once a minute: zombies against /proc.
    Reconcile,
    /// The end of what was removed long enough ago.
    Retention,
    /// The kernel's counters.
    Counters,
    /// Files of the cgroups.
    Files,
    /// Who waits to be reaped.
    Zombies,
    /// Sets of namespaces that calls have made or entered.
    FlagSets,
    /// What the kernel's maps have refused.
    Refusals,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Cgroups => "cgroups",
            Self::Counting => "counting",
            Self::Reconcile => "reconcile",
            Self::Retention => "retention",
            Self::Counters => "counters",
            Self::Files => "files",
            Self::Zombies => "zombies",
            Self::FlagSets => "flag_sets",
            Self::Refusals => "refusals",
        }
    }
}

/// What became of the parts.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// By name: its time, and whether it succeeded.
    pub(crate) outcomes: BTreeMap<&'static str, (Duration, bool)>,
    /// By name, in their order.
    pub(crate) faults: Vec<(&'static str, ObserveError)>,
}

impl Parts {
    /// Does a part; `None` when it fails.
    pub(super) fn take<T>(
        &mut self,
        part: Part,
        read: impl FnOnce() -> Result<T, ObserveError>,
    ) -> Option<T> {
        let began = Instant::now();
        let result = read();
        self.outcomes.insert(part.name(), (began.elapsed(), result.is_ok()));
        result.map_err(|fault| self.faults.push((part.name(), fault))).ok()
    }

    /// Whether a part was done, and succeeded.
    pub(super) fn has(&self, part: Part) -> bool {
        self.outcomes.get(part.name()).is_some_and(|(_, is_good)| *is_good)
    }

    /// For who needs all of them.
    ///
    /// # Errors
    /// The first fault.
    pub(crate) fn all(self) -> Result<(), ObserveError> {
        self.faults.into_iter().next().map_or(Ok(()), |(_, fault)| Err(fault))
    }
}

/// Does it for each, whatever becomes of the others.
///
/// # Errors
/// The first fault.
pub(super) fn for_each<I: IntoIterator, E>(
    all: I,
    mut act: impl FnMut(I::Item) -> Result<(), E>,
) -> Result<(), E> {
    let mut first = Ok(());
    for item in all {
        let result = act(item);
        first = first.and(result);
    }
    first
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn fault(path: &str) -> ObserveError {
        ObserveError::Files { path: path.into(), source: io::ErrorKind::Other.into() }
    }

    #[test]
    fn a_part_that_fails_leaves_the_others() {
        let mut parts = Parts::default();
        assert_eq!(parts.take(Part::Cgroups, || Ok(1)), Some(1));
        assert_eq!(parts.take::<u8>(Part::Files, || Err(fault("a"))), None);
        assert_eq!(parts.take(Part::Zombies, || Ok(2)), Some(2));
        assert_eq!(parts.take::<u8>(Part::Refusals, || Err(fault("b"))), None);
        let good: Vec<_> = parts.outcomes.iter().map(|(name, (_, is_good))| (*name, *is_good)).collect();
        assert_eq!(good, [("cgroups", true), ("files", false), ("refusals", false), ("zombies", true)]);
        assert!(parts.has(Part::Cgroups) && !parts.has(Part::Files) && !parts.has(Part::Retention));
        assert_eq!(parts.faults.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["files", "refusals"]);
        assert_eq!(parts.all().unwrap_err().to_string(), "cannot read the files of the cgroup a");
        assert!(Parts::default().all().is_ok());
    }

    #[test]
    fn each_is_done_and_the_first_fault_told() {
        let mut done = Vec::new();
        let result = for_each([1, 2, 3, 4], |n| {
            done.push(n);
            if n % 2 == 0 { Err(n) } else { Ok(()) }
        });
        assert_eq!((result, done), (Err(2), vec![1, 2, 3, 4]));
    }
}
