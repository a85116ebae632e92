//! Counters: per cgroup where it has an entry, and for the node always. They do not depend on scopes, nor on room in the ring.

use podproof_abi::{Counter, Counts};

use crate::atomic;
use crate::maps::{COUNTERS, NODE, ZEROES};

/// The counters of a cgroup and of the node.
#[derive(Clone, Copy)]
pub(crate) struct Counting {
    cgroup: Option<*mut Counts>,
    node: Option<*mut Counts>,
}

impl Counting {
    /// Looks both up; one event may add to several counters.
    #[inline(always)]
    pub(crate) fn of(cgroup_id: u64) -> Self {
        let counting = Self { cgroup: COUNTERS.get_ptr_mut(cgroup_id), node: NODE.get_ptr_mut(0) };
        if counting.cgroup.is_none() {
            counting.add_to_node(Counter::Unattributed, 1);
        }
        counting
    }

    /// The node alone.
    #[inline(always)]
    pub(crate) fn node() -> Self {
        Self { cgroup: None, node: NODE.get_ptr_mut(0) }
    }

    /// Adds one.
    #[inline(always)]
    pub(crate) fn count(self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `n`.
    #[inline(always)]
    pub(crate) fn add(self, counter: Counter, n: u64) {
        if let Some(counts) = self.cgroup {
            // SAFETY: an index of the array; the value's memory stays readable and writable.
            let value = unsafe { &raw mut (*counts).values[counter as usize] };
            atomic::add(value, n);
        }
        self.add_to_node(counter, n);
    }

    #[inline(always)]
    fn add_to_node(self, counter: Counter, n: u64) {
        if let Some(counts) = self.node {
            // SAFETY: as above.
            let value = unsafe { &raw mut (*counts).values[counter as usize] };
            // A program on the same CPU may interrupt this one.
            atomic::add(value, n);
        }
    }

    /// Adds one to the counter at `index` of a range that begins with `first`. `index` is below `LEN`, the length of the range.
    #[inline(always)]
    pub(crate) fn count_in<const LEN: u32>(self, first: Counter, index: u32) {
        if index >= LEN {
            return;
        }
        let at = first as usize + index as usize;
        for counts in [self.cgroup, self.node] {
            if let Some(counts) = counts {
                // SAFETY: ranges lie inside of the array, and the index was checked.
                let value = unsafe { (&raw mut (*counts).values).cast::<u64>().add(at) };
                atomic::add(value, 1);
            }
        }
    }
}

/// A map refused an entry.
#[inline(always)]
pub(crate) fn map_full() {
    Counting::node().count(Counter::MapFull);
}

/// Begins to count for a cgroup.
#[inline(always)]
pub(crate) fn begin(cgroup_id: u64) {
    let Some(zeroes) = ZEROES.get(0) else { return };
    if COUNTERS.insert(cgroup_id, zeroes, BPF_NOEXIST).is_err() && COUNTERS.get_ptr(cgroup_id).is_none() {
        map_full();
    }
}

/// Make an entry, never replace one.
const BPF_NOEXIST: u64 = 1;
