//! Sums of kernel counters, that know what this kernel cannot give.

use podproof_ebpf::counters::{Counter, Counts};

/// A value per counter; `None` where no program feeds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sums(Vec<Option<u64>>);

impl Sums {
    pub(crate) fn zero(available: &Counts) -> Self {
        Self(Counter::ALL.iter().map(|counter| available.get(*counter).map(|_| 0)).collect())
    }

    pub(crate) fn add(&mut self, counts: &Counts) {
        for (sum, counter) in self.0.iter_mut().zip(Counter::ALL) {
            if let Some(value) = counts.get(*counter) {
                *sum.get_or_insert(0) += value;
            }
        }
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
