//! Sums of kernel counters, that know what this kernel cannot give.

use podproof_ebpf::counters::{Counter, Counts};

/// Whose events a cgroup's counters are. The kernel side tells only whether a reaper was in the cgroup of the dead process or in
/// another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A container's own cgroup: who reaps from another one is outside of the container.
    Container,
    /// The sandbox's: its PID 1 is the pause process.
    Sandbox,
    /// A cgroup below a container's, or a service's: who reaps from another one belongs to the same.
    Below,
}

impl Place {
    /// The counter that an event is shown as.
    fn shown(self, counter: Counter) -> Counter {
        match (self, counter) {
            (Self::Below, Counter::ReapsOtherInit) => Counter::ReapsInit,
            (Self::Below, Counter::OrphansOtherInit) => Counter::OrphansInit,
            (Self::Below, Counter::ReapsOtherSubreaper) => Counter::ReapsSubreaper,
            (Self::Sandbox, Counter::ReapsInit) => Counter::ReapsOtherInit,
            (Self::Sandbox, Counter::OrphansInit) => Counter::OrphansOtherInit,
            _ => counter,
        }
    }
}

/// A value per counter; `None` where no program feeds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sums(Vec<Option<u64>>);

impl Sums {
    pub(crate) fn zero(available: &Counts) -> Self {
        Self(Counter::ALL.iter().map(|counter| available.get(*counter).map(|_| 0)).collect())
    }

    pub(crate) fn add(&mut self, counts: &Counts, place: Place) {
        for (counter, value) in counts.iter() {
            if let Some(sum) = self.0.get_mut(place.shown(counter) as usize) {
                *sum.get_or_insert(0) += value;
            }
        }
    }

    /// Adds what was summed up elsewhere.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (sum, value) in self.0.iter_mut().zip(&other.0) {
            if let Some(value) = value {
                *sum.get_or_insert(0) += value;
            }
        }
    }

    /// Adds what was counted since these.
    pub(crate) fn add_since(&mut self, before: &Self, counts: &Counts, place: Place) {
        let mut now = Self::zero(counts);
        now.add(counts, place);
        for (value, before) in now.0.iter_mut().zip(&before.0) {
            *value = value.map(|value| value.saturating_sub(before.unwrap_or(0)));
        }
        self.merge(&now);
    }

    /// As many, all 0.
    pub(crate) fn zeroed(&self) -> Self {
        Self(self.0.iter().map(|value| value.map(|_| 0)).collect())
    }

    /// The sum of several counters; `None` unless all of them are there.
    pub(crate) fn of(&self, counters: &[Counter]) -> Option<u64> {
        counters.iter().map(|counter| self.0.get(*counter as usize).copied().flatten()).sum()
    }
}

impl From<&Counts> for Sums {
    fn from(counts: &Counts) -> Self {
        Self(Counter::ALL.iter().map(|counter| counts.get(*counter)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reaper_is_named_by_where_the_dead_process_was() {
        let counts: Counts = [
            (Counter::ReapsInit, 2),
            (Counter::ReapsOtherInit, 5),
            (Counter::ReapsOtherSubreaper, 7),
            (Counter::ReapsSubreaper, 0),
        ]
        .into_iter()
        .collect();
        let of = |place| {
            let mut sums = Sums::zero(&counts);
            sums.add(&counts, place);
            let of = |counter| sums.of(&[counter]).unwrap();
            [
                of(Counter::ReapsInit),
                of(Counter::ReapsOtherInit),
                of(Counter::ReapsSubreaper),
                of(Counter::ReapsOtherSubreaper),
            ]
        };
        assert_eq!(of(Place::Container), [2, 5, 0, 7]);
        assert_eq!(of(Place::Sandbox), [0, 7, 0, 7]);
        assert_eq!(of(Place::Below), [7, 0, 7, 0]);
    }
}
