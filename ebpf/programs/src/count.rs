//! Counters: of a cgroup where it has an entry, else of the rest of the node. They do not depend on scopes, nor on room in the
//! ring. Each increment has one place, so that the node's total is a sum and costs nothing here.

use podproof_abi::{Counter, Counts, NS_MASK, PF_KTHREAD, rest, table};

use crate::atomic;
use crate::kernel::{Task, cgroup_id, off, rd};
use crate::maps::{COUNTERS, FLAG_SETS, REFUSED, REST, ZEROES};

/// Where one event is counted.
#[derive(Clone, Copy)]
pub(crate) struct Counting(Option<*mut Counts>);

impl Counting {
    /// In this cgroup; one event may add to several counters.
    #[inline(always)]
    pub(crate) fn of(cgroup_id: u64) -> Self {
        match COUNTERS.get_ptr_mut(cgroup_id) {
            Some(counts) => Self(Some(counts)),
            None => Self(REST.get_ptr_mut(rest::UNCOUNTED)),
        }
    }

    /// In the cgroup of a task; a thread of the kernel is in the root's and none of the host's processes.
    #[inline(always)]
    pub(crate) fn of_task(task: Task) -> Self {
        let is_kernel = rd::<u32>(task, off!(task_flags)) & PF_KTHREAD != 0;
        if is_kernel { Self::rest() } else { Self::of(cgroup_id(task)) }
    }

    /// In no cgroup.
    #[inline(always)]
    pub(crate) fn rest() -> Self {
        Self(REST.get_ptr_mut(rest::NONE))
    }

    /// Adds one.
    #[inline(always)]
    pub(crate) fn count(self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `n`. Atomically, per CPU too: a program may interrupt this one.
    #[inline(always)]
    pub(crate) fn add(self, counter: Counter, n: u64) {
        if let Some(counts) = self.0 {
            // SAFETY: an index of the array; the value's memory stays readable and writable.
            let value = unsafe { &raw mut (*counts).values[counter as usize] };
            atomic::add(value, n);
        }
    }

    /// Adds a time to its bucket, which is one of `LEN` from `first` on, the last of them above all `bounds`; and to `sum_ns`.
    #[inline(always)]
    pub(crate) fn time<const LEN: u32>(self, first: Counter, bounds: &[u64], sum_ns: Counter, ns: u64) {
        let mut bucket = 0;
        while bucket < bounds.len() {
            if ns <= bounds[bucket] {
                break;
            }
            bucket += 1;
        }
        self.count_in::<LEN>(first, bucket as u32);
        self.add(sum_ns, ns);
    }

    /// Adds one to the counter at `index` of a range of `LEN` that begins with `first`; nothing beyond it.
    #[inline(always)]
    pub(crate) fn count_in<const LEN: u32>(self, first: Counter, index: u32) {
        if index >= LEN {
            return;
        }
        if let Some(counts) = self.0 {
            // SAFETY: ranges lie inside of the array, and the index was checked.
            let value =
                unsafe { (&raw mut (*counts).values).cast::<u64>().add(first as usize + index as usize) };
            atomic::add(value, 1);
        }
    }
}

/// A map ([`podproof_abi::table`]) refused an entry with this error.
#[inline(always)]
pub(crate) fn refused(table: u32, error: i32) {
    const E2BIG: i32 = -7;
    const ENOMEM: i32 = -12;
    const EBUSY: i32 = -16;
    let Some(refused) = REFUSED.get_ptr_mut(table) else { return };
    let index = match error {
        E2BIG => 0,
        ENOMEM => 1,
        EBUSY => 2,
        _ => 3,
    };
    // SAFETY: an index of the array; the value's memory stays readable and writable.
    atomic::add(unsafe { (&raw mut (*refused).by_errno).cast::<u64>().add(index) }, 1);
}

/// One more call that made or entered these namespaces together.
#[inline(always)]
pub(crate) fn count_flags(call: u64, flags: u64) {
    let key = call << 32 | flags & NS_MASK;
    if let Some(count) = FLAG_SETS.get_ptr_mut(key) {
        atomic::add(count, 1);
        return;
    }
    let Err(error) = FLAG_SETS.insert(key, 1, BPF_NOEXIST) else { return };
    // Another CPU may have made it meanwhile.
    match FLAG_SETS.get_ptr_mut(key) {
        Some(count) => atomic::add(count, 1),
        None => refused(table::FLAG_SETS, error),
    }
}

/// Begins to count for a cgroup; false when there is no room.
#[inline(always)]
pub(crate) fn begin(cgroup_id: u64) -> bool {
    let Some(zeroes) = ZEROES.get(0) else { return false };
    if let Err(error) = COUNTERS.insert(cgroup_id, zeroes, BPF_NOEXIST)
        && COUNTERS.get_ptr(cgroup_id).is_none()
    {
        refused(table::COUNTERS, error);
        return false;
    }
    true
}

/// Make an entry, never replace one.
const BPF_NOEXIST: u64 = 1;
