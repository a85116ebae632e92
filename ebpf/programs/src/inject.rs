//! The killer of tests: counts the system calls of one command, process by process, and sends SIGKILL to one of them at its
//! N-th call, as the call begins or as it returns.
//!
//! A signal that is raised when a call begins does not cancel it: only calls that wait give up. So "as call N returns" is the
//! cut between call N and the next step of the program, and "as it begins" leaves calls that wait half done. Counts are per
//! thread group, since one count over several processes would not be the same twice.
//!
//! Built as the probes are.

#![no_std]
#![no_main]
#![allow(internal_features, reason = "the target has no read-modify-write in core::sync::atomic")]
#![feature(core_intrinsics)]
#![allow(
    unsafe_code,
    reason = "kernel memory and maps are reached through raw pointers that the verifier checks"
)]

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_send_signal};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::BtfTracePointContext;
use podproof_abi::Offsets;
use podproof_abi::inject::{Calls, Cut, MAX_CALLS, MAX_PROCESSES, Target, phase};

/// Replaced by the loader before the programs are loaded.
#[unsafe(no_mangle)]
static OFFS: Offsets = Offsets::UNKNOWN;

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The cut.
#[map]
static CUT: Array<Cut> = Array::with_max_entries(1, 0);

/// Thread group id to the process that it is. The command puts itself in before its exec.
#[map]
static TARGETS: HashMap<u32, Target> = HashMap::with_max_entries(MAX_PROCESSES, 0);

/// The counts, by index of the process.
#[map]
static PROCESSES: Array<Calls> = Array::with_max_entries(MAX_PROCESSES, 0);

/// Numbers of the calls of the cut's process, in the order in which they returned.
#[map]
static CALLS: Array<u64> = Array::with_max_entries(MAX_CALLS, 0);

const EXECVE: u64 = 59;
const EXECVEAT: u64 = 322;
const CLONE_THREAD: u64 = 0x1_0000;
const SIGKILL: u32 = 9;

/// `task_newtask(task, clone_flags)`: `current` has made a process.
#[btf_tracepoint(function = "task_newtask")]
pub(crate) fn task_newtask(ctx: BtfTracePointContext) -> u32 {
    let (Some(cut), Some((target, _))) = (CUT.get(0), target()) else { return 0 };
    let flags: u64 = ctx.arg(1);
    if cut.follows == 0 || flags & CLONE_THREAD != 0 || target.phase != phase::COUNTING {
        return 0;
    }
    let Some(command) = PROCESSES.get_ptr_mut(0) else { return 0 };
    // SAFETY: the pointer is to an entry of the array, which is never freed.
    let process = next(unsafe { &raw mut (*command).n_made });
    if process >= u64::from(MAX_PROCESSES) {
        return 0;
    }
    // SAFETY: OFFS is a valid static; volatile, because the loader replaces it after the compiler saw it.
    let offset = unsafe { core::ptr::read_volatile(&raw const OFFS.task_tgid) };
    let tgid: u32 = rd(ctx.arg(0), offset);
    // A full map would show as a process without calls.
    _ = TARGETS.insert(tgid, Target { process, phase: phase::COUNTING }, 0);
    0
}

/// `sys_enter(regs, id)`
#[btf_tracepoint(function = "sys_enter")]
pub(crate) fn sys_enter(ctx: BtfTracePointContext) -> u32 {
    let Some((target, _)) = target() else { return 0 };
    if target.phase == phase::COUNTING
        && let Some(calls) = PROCESSES.get_ptr_mut(target.process as u32)
    {
        // SAFETY: as in `task_newtask`.
        let call = next(unsafe { &raw mut (*calls).entered });
        kill_if_due(target, calls, call, ctx.arg(1), 1);
    }
    0
}

/// `sys_exit(regs, ret)`
#[btf_tracepoint(function = "sys_exit")]
pub(crate) fn sys_exit(ctx: BtfTracePointContext) -> u32 {
    let (Some(cut), Some((target, place))) = (CUT.get(0), target()) else { return 0 };
    let (regs, ret): (usize, i64) = (ctx.arg(0), ctx.arg(1));
    // SAFETY: as in `task_newtask`.
    let offset = unsafe { core::ptr::read_volatile(&raw const OFFS.regs_nr) };
    let nr: u64 = rd(regs, offset);
    if matches!(nr, EXECVE | EXECVEAT) && ret == 0 {
        let ended = if own_name() == Some(cut.program) { phase::OVER } else { phase::COUNTING };
        // SAFETY: the map's value lives until the program has returned.
        unsafe { (*place).phase = ended };
        if target.phase == phase::WAITING {
            return 0;
        }
        if ended == phase::OVER {
            return 0;
        }
    }
    if target.phase == phase::COUNTING
        && let Some(calls) = PROCESSES.get_ptr_mut(target.process as u32)
    {
        // SAFETY: as in `task_newtask`.
        let call = next(unsafe { &raw mut (*calls).returned });
        if target.process == cut.process
            && let Some(kept) = CALLS.get_ptr_mut((call - 1) as u32)
        {
            // SAFETY: the pointer is to an entry of the array.
            unsafe { *kept = nr };
        }
        kill_if_due(target, calls, call, nr, 0);
    }
    0
}

#[inline(always)]
fn kill_if_due(target: Target, calls: *mut Calls, call: u64, nr: u64, is_at_entry: u64) {
    let Some(cut) = CUT.get(0) else { return };
    if cut.call != call || cut.process != target.process || cut.is_at_entry != is_at_entry {
        return;
    }
    // SAFETY: the helper takes any number.
    if unsafe { bpf_send_signal(SIGKILL) } == 0 {
        // SAFETY: the pointer is to an entry of the array.
        unsafe {
            (*calls).killed_at = call;
            (*calls).killed_nr = nr;
        }
    }
}

/// What the current process is, and where that is kept.
#[inline(always)]
fn target() -> Option<(Target, *mut Target)> {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let place = TARGETS.get_ptr_mut(tgid)?;
    // SAFETY: the map's value lives until the program has returned.
    Some((unsafe { *place }, place))
}

/// `comm` of the current task.
#[inline(always)]
fn own_name() -> Option<[u64; 2]> {
    let comm = bpf_get_current_comm().ok()?;
    // SAFETY: both are 16 bytes without padding.
    Some(unsafe { core::mem::transmute::<[u8; 16], [u64; 2]>(comm) })
}

/// Counts one more; the new count. Sequentially consistent: with a weaker order the compiler emits an addition that does not
/// fetch.
#[inline(always)]
fn next(count: *mut u64) -> u64 {
    // SAFETY: callers pass a field of a map's value, which is aligned and lives as long as the program runs.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(count, 1) + 1 }
}

/// Reads `T` at `offset` of the kernel object at `p`.
#[inline(always)]
fn rd<T: Copy>(p: usize, offset: u32) -> T {
    // SAFETY: the verifier admits this load only for a pointer with BTF type and a field at that offset; a fault
    // of such a load reads as zero.
    unsafe { core::ptr::read_volatile((p + offset as usize) as *const T) }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: the programs have no panicking path, and the verifier refuses an endless loop.
    loop {}
}
