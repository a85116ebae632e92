//! Events of cgroups that have no counters of their own, by why they have none.

use podproof_ebpf::counters::Counts;

use crate::model::{Place, Sums};

/// Sums since the start.
#[derive(Debug, Default)]
pub(crate) struct Uncounted {
    /// What the kernel said last.
    seen: Option<Counts>,
    /// Counted while there was room for no other cgroup.
    overflow: Option<Sums>,
    /// Of cgroups that are forgotten, that were not known yet, or that this mount does not show.
    others: Option<Sums>,
}

impl Uncounted {
    /// Takes over what the kernel says now; `is_full` if it could not count for more cgroups.
    pub(super) fn update(&mut self, now: Counts, is_full: bool) {
        let before = |counter| self.seen.as_ref().and_then(|seen| seen.get(counter)).unwrap_or(0);
        let new: Counts =
            now.iter().map(|(counter, n)| (counter, n.saturating_sub(before(counter)))).collect();
        let zero = || Sums::zero(&now);
        let (overflow, others) =
            (self.overflow.get_or_insert_with(zero), self.others.get_or_insert_with(zero));
        let sum = if is_full { overflow } else { others };
        sum.add(&new, Place::Below);
        self.seen = Some(now);
    }

    pub(super) fn overflow(&self) -> Option<&Sums> {
        self.overflow.as_ref()
    }

    pub(super) fn others(&self) -> Option<&Sums> {
        self.others.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use podproof_ebpf::counters::Counter;

    use super::*;

    #[test]
    fn events_go_where_they_belonged_when_they_came() {
        let mut uncounted = Uncounted::default();
        let mut of = |execs: u64, is_full: bool| {
            uncounted.update([(Counter::Execs, execs)].into_iter().collect(), is_full);
            [uncounted.others(), uncounted.overflow()]
                .map(|sums| sums.unwrap().of(&[Counter::Execs]).unwrap())
        };
        assert_eq!(of(3, false), [3, 0]);
        assert_eq!(of(10, true), [3, 7]);
        assert_eq!(of(10, true), [3, 7]);
        assert_eq!(of(11, false), [4, 7]);
    }
}
