//! Keys, values and sizes of the maps.

/// Scopes that may be open at once, plus the unused id 0.
pub const MAX_SCOPES: u32 = 4096;
/// Processes that may carry a tag at once, zombies included.
pub const MAX_TAGS: u32 = 32_768;
/// Cgroups that may carry a tag at once.
pub const MAX_CGROUPS: u32 = 8192;
/// Threads that may be inside setns(2) or unshare(2) at once.
pub const MAX_PENDING: u32 = 4096;

/// Resolution of start times in /proc (USER_HZ is 100 on every supported architecture).
pub const START_TICK_NS: u64 = 10_000_000;

/// Value of the map from thread group id to scope.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Tag {
    /// The scope.
    pub scope: u32,
    /// 1 once a thread of the group was reported as the last one.
    pub ended: u32,
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
