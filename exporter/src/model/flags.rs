//! Which sets of namespaces have a series of their own.

use std::collections::{BTreeMap, BTreeSet};

use podproof_ebpf::counters::FlagSet;

/// Sets that are shown by themselves, of whatever operation; the rest is shown together.
const MAX: usize = 64;
const OTHER: &str = "other";

/// The sets that came first: whoever has a series keeps it.
#[derive(Debug, Default)]
pub(crate) struct FlagSets {
    admitted: BTreeSet<String>,
}

impl FlagSets {
    /// What is shown of these sets.
    pub(crate) fn shown(&mut self, sets: Vec<FlagSet>) -> Vec<FlagSet> {
        let mut shown: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
        for FlagSet { operation, types, count } in sets {
            let has_room = self.admitted.len() < MAX;
            let is_shown = self.admitted.contains(&types) || has_room && self.admitted.insert(types.clone());
            let name = if is_shown { types } else { OTHER.to_owned() };
            *shown.entry((operation, name)).or_insert(0) += count;
        }
        let set = |((operation, types), count)| FlagSet { operation, types, count };
        shown.into_iter().map(set).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(n: usize, count: u64) -> FlagSet {
        FlagSet { operation: "clone", types: format!("{n:03}"), count }
    }

    #[test]
    fn who_has_a_series_keeps_it() {
        let mut sets = FlagSets::default();
        let first: Vec<FlagSet> = (100..100 + MAX).map(|n| set(n, 1)).collect();
        assert_eq!(sets.shown(first.clone()), first);
        let more = (0..3).map(|n| set(n, 2)).chain(first.clone()).collect();
        let other = FlagSet { operation: "clone", types: OTHER.to_owned(), count: 6 };
        assert_eq!(sets.shown(more), [first, vec![other]].concat());
    }

    #[test]
    fn there_are_no_more_for_other_operations() {
        let mut sets = FlagSets::default();
        sets.shown((0..MAX).map(|n| set(n, 1)).collect());
        let of = |types: &str| FlagSet { operation: "unshare", types: types.to_owned(), count: 1 };
        assert_eq!(sets.shown(vec![of("000"), of("new")]), [of("000"), of(OTHER)]);
    }
}
