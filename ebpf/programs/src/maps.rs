//! Every map, with its size and its reason.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use podproof_abi::{
    Control, Counts, Emitted, MAX_CGROUPS, MAX_COUNTED, MAX_ENDING, MAX_FLAG_SETS, MAX_PENDING, MAX_SCOPES,
    MAX_TAGS, MAX_ZOMBIES, NsInodes, OomKill, Orphan, PATH_LEN, Refused, Slot, Tag, Zombie, kind, rest,
    table,
};

/// All records, in one order. The loader sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Record kind to how many were written, and how many found no room.
#[map]
pub(crate) static EMITTED: PerCpuArray<Emitted> = PerCpuArray::with_max_entries(kind::N, 0);

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

/// Thread (`pid_tgid`) inside setns or unshare to its namespaces at entry. Calls whose return is not seen leave theirs, to be
/// forgotten.
#[map]
pub(crate) static PENDING: LruHashMap<u64, NsInodes> = LruHashMap::with_max_entries(MAX_PENDING, 0);

/// The same for setns, where its entry and return are hooked for the counters.
#[map]
pub(crate) static JOINING: HashMap<u64, NsInodes> = HashMap::with_max_entries(MAX_PENDING, BPF_F_NO_PREALLOC);

/// Leader of a group of several threads, by its `start_boottime` and number, to a mark: of threads that end at the same
/// moment the first one to set it is the last of its group. Forgetting an old one is harmless.
#[map]
pub(crate) static ENDING: LruHashMap<[u64; 2], u8> = LruHashMap::with_max_entries(MAX_ENDING, 0);

/// What the loader switches while the programs run.
#[map]
pub(crate) static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// Cgroup id (v2) to its counters. Entries are made at mkdir, and by user space for the cgroups that were there before; only
/// user space removes them. The loader sets the size.
#[map]
pub(crate) static COUNTERS: HashMap<u64, Counts> = HashMap::with_max_entries(MAX_COUNTED, BPF_F_NO_PREALLOC);

/// Cgroup id (v2) to its path from the root of the hierarchy, as it was made with: NUL-terminated, and anything after that. User
/// space takes the entries out. The loader sets the size.
#[map]
pub(crate) static PATHS: HashMap<u64, [u8; PATH_LEN]> =
    HashMap::with_max_entries(MAX_COUNTED, BPF_F_NO_PREALLOC);

/// Room for one such path, which takes half of the stack. It is used under the lock that the kernel holds for the tracepoints of
/// cgroups.
#[map]
pub(crate) static PATH: PerCpuArray<[u8; PATH_LEN]> = PerCpuArray::with_max_entries(1, 0);

/// What is counted for no cgroup that has an entry, by whether it is of one ([`rest`]).
#[map]
pub(crate) static REST: PerCpuArray<Counts> = PerCpuArray::with_max_entries(rest::N, 0);

/// Entries that were refused, by map.
#[map]
pub(crate) static REFUSED: PerCpuArray<Refused> = PerCpuArray::with_max_entries(table::N, 0);

/// Call (`ns_call`) and set of namespaces to how often it was asked for together.
#[map]
pub(crate) static FLAG_SETS: HashMap<u64, u64> = HashMap::with_max_entries(MAX_FLAG_SETS, BPF_F_NO_PREALLOC);

/// An all-zero value for new entries of `COUNTERS`, which is too large for the stack.
#[map]
pub(crate) static ZEROES: Array<Counts> = Array::with_max_entries(1, 0);

/// Thread group id to the zombie that it is, while releases are seen.
#[map]
pub(crate) static ZOMBIES: HashMap<u32, Zombie> = HashMap::with_max_entries(MAX_ZOMBIES, BPF_F_NO_PREALLOC);

/// Thread group id of a process whose parent has ended to what tells it from a later one.
#[map]
pub(crate) static ORPHANS: HashMap<u32, Orphan> = HashMap::with_max_entries(MAX_ZOMBIES, BPF_F_NO_PREALLOC);

/// How many entries `ORPHANS` has.
#[map]
pub(crate) static N_ORPHANS: Array<u64> = Array::with_max_entries(1, 0);

/// Thread (`pid_tgid`) in the OOM killer to what it found.
#[map]
pub(crate) static OOM_KILLS: HashMap<u64, OomKill> =
    HashMap::with_max_entries(MAX_PENDING, BPF_F_NO_PREALLOC);

/// Thread (`pid_tgid`) that moves a process to the process's cgroup before. Moves that fail leave theirs, to be forgotten.
#[map]
pub(crate) static MOVING: LruHashMap<u64, u64> = LruHashMap::with_max_entries(MAX_PENDING, 0);

/// Since when the run queue is throttled that this CPU is releasing, by that run queue's clock; 0 for not at all.
#[map]
pub(crate) static THROTTLED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Inode of a pid namespace that is ending to a mark.
#[map]
pub(crate) static DYING: HashMap<u32, u8> = HashMap::with_max_entries(MAX_PENDING, BPF_F_NO_PREALLOC);
