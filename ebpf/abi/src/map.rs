//! Keys, values and sizes of the maps.

/// Scopes that may be open at once, plus the unused id 0.
pub const MAX_SCOPES: u32 = 4096;
/// Processes that may carry a tag at once, zombies included.
pub const MAX_TAGS: u32 = 32_768;
/// Cgroups that may carry a tag at once.
pub const MAX_CGROUPS: u32 = 8192;
/// Cgroups that may be counted at once, unless the loader asks for another number.
pub const MAX_COUNTED: u32 = 16_384;
/// Zombies, and orphans, that may be known at once.
pub const MAX_ZOMBIES: u32 = 32_768;
/// Groups of threads that may end at the same moment.
pub const MAX_ENDING: u32 = 1024;
/// Threads that may be inside setns(2), unshare(2) or the OOM killer at once.
pub const MAX_PENDING: u32 = 4096;

/// Sets of namespaces that may be asked for: any of eight types, by three calls.
pub const MAX_FLAG_SETS: u32 = 1024;

/// Resolution of start times in /proc (USER_HZ is 100 on every supported architecture).
pub const START_TICK_NS: u64 = 10_000_000;

/// Value of the map from thread group id to scope.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Tag {
    /// The scope.
    pub scope: u32,
    /// Zero.
    pub pad: u32,
    /// `start_boottime` of the group's leader, or less than [`START_TICK_NS`] before it when user space set the tag.
    /// Tells a process from a later one with the same number.
    pub start_ns: u64,
}

/// Value of the array of scopes, indexed by scope id.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Slot {
    /// 1 while the scope is open: tags of a closed scope count as absent.
    pub open: u64,
    /// Records of this scope that found no room (in the ring, or in a map that a later record needs).
    pub lost: u64,
}

const _: () = assert!(size_of::<Tag>() == 16);
const _: () = assert!(size_of::<Slot>() == 16);

/// Value of the map of processes whose parent has ended.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Orphan {
    /// `start_boottime` of its leader.
    pub start_ns: u64,
    /// Thread group of the parent that ended.
    pub parent_tgid: u32,
    /// Zero.
    pub pad: u32,
}

/// Value of the map from thread to the OOM kill that it is carrying out.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct OomKill {
    /// The cgroup whose limit was hit, or 0.
    pub limit_cgroup_id: u64,
    /// `enum oom_constraint`.
    pub constraint: u32,
    /// Zero.
    pub pad: u32,
}

/// Calls that make or enter namespaces, the upper half of a key of `FLAG_SETS`; the lower half are the flags.
pub mod ns_call {
    /// clone(2), clone3(2), fork(2), vfork(2).
    pub const CLONE: u64 = 0;
    /// unshare(2)
    pub const UNSHARE: u64 = 1;
    /// setns(2), by what has changed.
    pub const SETNS: u64 = 2;
}

/// Entries of `REST`.
pub mod rest {
    /// Kernel threads, and what is of no cgroup.
    pub const NONE: u32 = 0;
    /// Cgroups that have no counters of their own.
    pub const UNCOUNTED: u32 = 1;
    /// How many there are.
    pub const N: u32 = 2;
}

/// Maps that take entries while the programs run; a row of `REFUSED` each.
pub mod table {
    /// `COUNTERS`
    pub const COUNTERS: u32 = 0;
    /// `ZOMBIES`
    pub const ZOMBIES: u32 = 1;
    /// `ORPHANS`
    pub const ORPHANS: u32 = 2;
    /// `JOINING`
    pub const JOINING: u32 = 3;
    /// `DYING`
    pub const DYING: u32 = 4;
    /// `OOM_KILLS`
    pub const OOM_KILLS: u32 = 5;
    /// `MOVING`
    pub const MOVING: u32 = 6;
    /// `FLAG_SETS`
    pub const FLAG_SETS: u32 = 7;
    /// `PATHS`
    pub const PATHS: u32 = 8;
    /// How many there are.
    pub const N: u32 = 9;
}

/// Entries that a map refused, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Refused {
    /// `E2BIG`, `ENOMEM`, `EBUSY`, any other.
    pub by_errno: [u64; 4],
}

const _: () = assert!(size_of::<Refused>() == 32);

/// What the programs do, told by the loader before they are loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Mode {
    /// 1 to write records for open scopes.
    pub events: u32,
    /// 1 to keep counters.
    pub counters: u32,
    /// Inode of the machine's first mount namespace.
    pub host_mnt_ns: u32,
    /// Inode of the initial pid namespace.
    pub host_pid_ns: u32,
}

/// The one entry of the array `CONTROL`, which the loader changes after the load.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Control {
    /// 1 while `release_task` is attached: zombies are kept track of.
    pub has_release: u32,
    /// Zero.
    pub pad: u32,
}

/// Records of one kind on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Emitted {
    /// Written into the ring.
    pub emitted: u64,
    /// Found no room.
    pub lost: u64,
}

const _: () = assert!(size_of::<OomKill>() == 16);
const _: () = assert!(size_of::<Mode>() == 16);
const _: () = assert!(size_of::<Emitted>() == 16);
