//! What `inject` is told, and what it tells. All words are 64 bits wide: each struct is an array of them for the loader.

/// Processes of one command that are told apart: the command itself, which has index 0, and those that it makes.
pub const MAX_PROCESSES: u32 = 64;
/// Calls of one process whose numbers are kept.
pub const MAX_CALLS: u32 = 16_384;

/// The one entry of the array `CUT`: whom to kill, and where.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Cut {
    /// At which of its calls, from 1; 0 only counts.
    pub call: u64,
    /// Index of the process; the numbers of its calls are kept in `CALLS`.
    pub process: u64,
    /// 1 when the call begins, 0 when it returns.
    pub is_at_entry: u64,
    /// 1 to count the processes that the command makes, each for itself.
    pub follows: u64,
    /// A process that has executed a program of this name (`comm`, padded with zeroes) counts no more.
    pub program: [u64; 2],
}

/// Value of the map `TARGETS`, from thread group id.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Target {
    /// Index of the process.
    pub process: u64,
    /// One of [`phase`].
    pub phase: u64,
}

/// Whether the calls of a process are counted.
pub mod phase {
    /// From its next exec on.
    pub const WAITING: u64 = 0;
    /// Yes.
    pub const COUNTING: u64 = 1;
    /// No more.
    pub const OVER: u64 = 2;
}

/// Entry of the array `PROCESSES`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Calls {
    /// Calls that began.
    pub entered: u64,
    /// Calls that returned.
    pub returned: u64,
    /// Processes that the whole command made; in the entry of index 0 only.
    pub n_made: u64,
    /// The call at which it was killed, 0 when it was not.
    pub killed_at: u64,
    /// The number (`__NR_*`) of that call.
    pub killed_nr: u64,
}

const _: () = assert!(size_of::<Cut>() == 6 * 8);
const _: () = assert!(size_of::<Target>() == 2 * 8);
const _: () = assert!(size_of::<Calls>() == 5 * 8);
