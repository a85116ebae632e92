//! Signals by raw system calls: libc keeps 32 and 33 to itself, in dispositions and in masks.
//!
//! The handler may run in any thread. It only writes to atomics and wakes a futex, whose word counts the signals:
//! a waiter that has seen a count sleeps only as long as it is still that count, so no signal is missed.

use std::mem::size_of;
use std::ptr::null;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use nix::errno::Errno;

use crate::time::Deadline;

/// The signal that libc takes for itself when the first thread is made (nptl, `SIGSETXID`).
const SETXID_SIGNAL: i32 = 33;

/// Signals of Linux: 1..=64.
pub(crate) const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;

/// Caught and not yet taken; a suite that lets more pile up is told so.
const SLOTS: usize = 4096;

/// `signal << 32 | sender`; zero is an empty slot.
static CAUGHT: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];
/// Slots ever given out, by the handler.
static GIVEN: AtomicUsize = AtomicUsize::new(0);
/// Slots ever emptied, by the reader.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// Signals for which no slot was free.
static OVERFLOWED: AtomicU64 = AtomicU64::new(0);
/// Futex word: signals recorded, wrapping.
static RECORDED: AtomicU32 = AtomicU32::new(0);
/// Signals that [`catch`] installed the handler for, bit `signal - 1`.
static INSTALLED: AtomicU64 = AtomicU64::new(0);

/// `struct sigaction` of the kernel, which differs from libc's.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Action {
    disposition: usize,
    flags: libc::c_ulong,
    restorer: usize,
    mask: u64,
}

/// `SA_RESTORER` of x86's asm/signal.h: x86_64 demands a restorer from the caller.
#[cfg(target_arch = "x86_64")]
const SA_RESTORER: libc::c_ulong = 0x0400_0000;

/// What the kernel returns to from a handler: rt_sigreturn(2), on the stack as the kernel left it.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
extern "C" fn restorer() -> ! {
    core::arch::naked_asm!("mov eax, 15", "syscall")
}

#[cfg(target_arch = "x86_64")]
fn restoring() -> (libc::c_ulong, usize) {
    (SA_RESTORER, restorer as *const () as usize)
}

/// Other architectures return through the vDSO.
#[cfg(not(target_arch = "x86_64"))]
fn restoring() -> (libc::c_ulong, usize) {
    (0, 0)
}

fn rt_sigaction(signal: i32, new: Option<&Action>) -> Result<Action, Errno> {
    let mut old = Action::default();
    let new = new.map_or(null(), |action| &raw const *action);
    // SAFETY: both point to the kernel's layout and outlive the call; a handler, where `new` names one, is
    // `record`, which keeps to what signal-safety(7) allows.
    let result =
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, &raw mut old, size_of::<u64>()) };
    Errno::result(result).map(|_| old)
}

/// Installs the recording handler for a signal.
///
/// # Errors
/// That of rt_sigaction(2): `EINVAL` for SIGKILL and SIGSTOP.
pub(crate) fn catch(signal: i32) -> Result<(), Errno> {
    let (flag, restorer) = restoring();
    let action = Action {
        disposition: record as *const () as usize,
        flags: (libc::SA_RESTART | libc::SA_SIGINFO) as libc::c_ulong | flag,
        restorer,
        // One at a time, so that the order of the records is the order of delivery.
        mask: u64::MAX,
    };
    rt_sigaction(signal, Some(&action))?;
    INSTALLED.fetch_or(1 << (signal - 1), Ordering::SeqCst);
    Ok(())
}

/// Gives a child the default dispositions where the witness catches: the records would be lost with the child,
/// and it would survive what should end it. Async-signal-safe.
pub(super) fn reset_in_child() {
    let installed = INSTALLED.load(Ordering::SeqCst);
    for signal in SIGNALS.filter(|signal| installed & 1 << (signal - 1) != 0) {
        // It was valid when the handler was installed, so it cannot fail here.
        rt_sigaction(signal, Some(&Action::default())).unwrap_or_default();
    }
}

extern "C" fn record(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the address of the thread's errno is always valid.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above, and only this thread uses it.
    let before = unsafe { *errno };
    // SAFETY: with SA_SIGINFO the kernel passes a filled siginfo_t on the stack.
    let info = unsafe { &*info };
    if is_fault(signal, info.si_code) {
        // Returning repeats the faulty instruction; with the default it ends the process as it should.
        rt_sigaction(signal, Some(&Action::default())).unwrap_or_default();
        return;
    }
    // SAFETY: `si_pid` lies within siginfo_t for every signal; where the kernel sends none it is zero or the value
    // of another field, which the record reports as it is.
    let sender = unsafe { info.si_pid() };
    let given = GIVEN.fetch_add(1, Ordering::SeqCst);
    let word = u64::from(signal.unsigned_abs()) << 32 | u64::from(sender.cast_unsigned());
    // A slot that is not empty belongs to an earlier signal that the reader has not taken yet.
    let slot = &CAUGHT[given % SLOTS];
    if slot.compare_exchange(0, word, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        OVERFLOWED.fetch_add(1, Ordering::SeqCst);
    }
    RECORDED.fetch_add(1, Ordering::SeqCst);
    // SAFETY: the futex word is a static.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            RECORDED.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            i32::MAX,
        )
    };
    // SAFETY: as at the load above.
    unsafe { *errno = before };
}

/// Whether the kernel reports a fault of the program itself, rather than a signal that somebody sent.
fn is_fault(signal: i32, code: i32) -> bool {
    matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL) && code > 0
}

/// Takes the oldest caught signal: its number and its sender. For one reader.
pub(crate) fn next_caught() -> Option<(i32, i32)> {
    let taken = TAKEN.load(Ordering::SeqCst);
    let word = CAUGHT[taken % SLOTS].swap(0, Ordering::SeqCst);
    if word == 0 {
        return None;
    }
    TAKEN.store(taken.wrapping_add(1), Ordering::SeqCst);
    Some(((word >> 32) as i32, (word as u32).cast_signed()))
}

/// Signals that could not be recorded.
pub(crate) fn n_overflowed() -> u64 {
    OVERFLOWED.load(Ordering::SeqCst)
}

/// Signals recorded so far, wrapping.
pub(crate) fn n_recorded() -> u32 {
    RECORDED.load(Ordering::SeqCst)
}

/// Waits while the count of recorded signals is `seen`, at most until the deadline.
pub(crate) fn wait_past(seen: u32, deadline: Deadline) {
    let left = deadline.left();
    let timeout = libc::timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    // SAFETY: the futex word is a static and the timeout outlives the call. All its ends (woken, changed already,
    // interrupted, timed out) lead to the caller's condition.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            RECORDED.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            seen,
            &raw const timeout,
        )
    };
}

/// What making the first thread changes behind the program's back: one disposition and the calling thread's mask.
#[derive(Debug)]
pub(crate) struct SignalState {
    setxid: Action,
    mask: u64,
}

impl SignalState {
    /// Reads it.
    ///
    /// # Errors
    /// That of rt_sigaction(2) or rt_sigprocmask(2).
    pub(crate) fn save() -> Result<Self, Errno> {
        Ok(Self { setxid: rt_sigaction(SETXID_SIGNAL, None)?, mask: rt_sigprocmask(None)? })
    }

    /// Puts it back.
    ///
    /// # Errors
    /// That of rt_sigaction(2) or rt_sigprocmask(2).
    pub(crate) fn restore(&self) -> Result<(), Errno> {
        rt_sigaction(SETXID_SIGNAL, Some(&self.setxid))?;
        rt_sigprocmask(Some(self.mask)).map(|_| ())
    }
}

fn rt_sigprocmask(new: Option<u64>) -> Result<u64, Errno> {
    let mut old = 0_u64;
    let new = new.as_ref().map_or(null(), |mask| &raw const *mask);
    // SAFETY: both point to masks of the kernel's size and outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, &raw mut old, size_of::<u64>())
    };
    Errno::result(result).map(|_| old)
}
