//! Every map, with its size and its reason.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, RingBuf};
use podproof_abi::{MAX_CGROUPS, MAX_PENDING, MAX_SCOPES, MAX_TAGS, NsInodes, Slot, Tag};

/// All records, in one order. The loader sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Thread group id to scope: set from outside for a launcher, inherited at task creation, kept until the leader is freed, so
/// that a zombie and its reap still belong to their scope.
#[map]
pub(crate) static TAGS: HashMap<u32, Tag> = HashMap::with_max_entries(MAX_TAGS, 0);

/// Cgroup id (v2) to scope: set from outside for a root, inherited at mkdir.
#[map]
pub(crate) static CGROUPS: HashMap<u64, u32> = HashMap::with_max_entries(MAX_CGROUPS, 0);

/// Scope id to its state and its losses.
#[map]
pub(crate) static SLOTS: Array<Slot> = Array::with_max_entries(MAX_SCOPES, 0);

/// Thread (`pid_tgid`) inside setns or unshare to its namespaces at entry.
#[map]
pub(crate) static PENDING: HashMap<u64, NsInodes> = HashMap::with_max_entries(MAX_PENDING, 0);
