//! Priorities of another process (ioprio_set(2), sched_setattr(2)).
#![expect(unsafe_code, reason = "nix has no wrappers for ioprio_set and sched_setattr")]

use nix::errno::Errno;
use nix::unistd::Pid;

use super::check;
use crate::spec::{IoPriority, Scheduler};

/// `IOPRIO_WHO_PROCESS` and `IOPRIO_CLASS_SHIFT` of `linux/ioprio.h`.
const WHO_PROCESS: libc::c_int = 1;
const CLASS_SHIFT: u32 = 13;

/// The first version of the kernel's `struct sched_attr`.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets the I/O priority of a process with one thread.
///
/// # Errors
/// `EPERM` for the realtime class without `CAP_SYS_NICE`.
pub fn set_io_priority(pid: Pid, priority: IoPriority) -> Result<(), Errno> {
    let value = u32::from(priority.class) << CLASS_SHIFT | u32::from(priority.level);
    // SAFETY: no pointers.
    let ret = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, pid.as_raw(), value) };
    check(ret).map(drop)
}

/// Sets the scheduling policy of a process with one thread.
///
/// # Errors
/// `EINVAL` when the parameters do not fit the policy, `EPERM` without the right, `EBUSY` when there is no time left for
/// a deadline.
pub fn set_scheduler(pid: Pid, scheduler: Scheduler) -> Result<(), Errno> {
    let Scheduler { policy, flags, nice, priority, runtime, deadline, period } = scheduler;
    #[expect(clippy::cast_possible_truncation, reason = "48 bytes")]
    let size = size_of::<SchedAttr>() as u32;
    let attr = SchedAttr { size, policy, flags, nice, priority, runtime, deadline, period };
    // SAFETY: `attr` has the kernel's layout and tells its size; it lives for the length of the call.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setattr, pid.as_raw(), &raw const attr, 0) };
    check(ret).map(drop)
}
