//! Records, keys and offsets shared by the BPF programs and the process that loads them.
//!
//! Both sides are built from this crate, so a layout exists once. Every type is `repr(C)` and made of fixed-width
//! integers and arrays of them: no bool, enum, `Option`, `usize` or pointer, and padding is a named
//! field. A size assertion stands beside each type; with feature `user` each is also `bytemuck::Pod`,
//! which proves that no padding is hidden.

#![no_std]

mod counter;
pub mod inject;
mod map;
mod offsets;
mod record;

pub use counter::{
    Counter, Counts, N_COUNTERS, N_NS, NS_FLAGS, NS_MASK, PF_KTHREAD, THROTTLE_BOUNDS_NS, ZOMBIE_BOUNDS_NS,
    Zombie,
};
pub use map::{
    Control, Emitted, MAX_CGROUPS, MAX_COUNTED, MAX_ENDING, MAX_FLAG_SETS, MAX_PENDING, MAX_SCOPES, MAX_TAGS,
    MAX_ZOMBIES, Mode, OomKill, Orphan, Refused, START_TICK_NS, Slot, Tag, ns_call, rest, table,
};
#[cfg(feature = "user")]
pub use offsets::Field;
pub use offsets::{MISSING, Offsets, need};
pub use record::{
    ABI_VERSION, Attach, Cgroup, CgroupWrite, CloneFailed, Exec, ExecFailed, Exit, FILE_LEN, Fence, Free,
    Header, MAX_LEVELS, Mount, MoveMount, NewTask, NsInodes, NsSwitch, Oom, PATH_LEN, Path, PivotRoot,
    Release, STR_LEN, Shm, SignalDeliver, SignalGenerate, TaskId, TaskView, Umount, VALUE_LEN, Wait, kind,
    reaper,
};
