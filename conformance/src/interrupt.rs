//! Ctrl-C: a run that is interrupted still cleans up after itself.
//!
//! The signals are blocked in every thread and taken by one that waits for them; whoever waits for a runtime or a
//! witness also waits for this, gives up, and the cells close as they always do.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

const TAKEN: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

static EVENT: OnceLock<EventFd> = OnceLock::new();
static BEFORE: OnceLock<SigSet> = OnceLock::new();
static SIGNAL: AtomicI32 = AtomicI32::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Takes SIGINT, SIGTERM and SIGHUP from here on. Call it before any other thread exists.
///
/// # Errors
/// When the kernel refuses an event descriptor or the mask.
pub fn install() -> Result<(), Errno> {
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    if EVENT.set(event).is_err() {
        return Ok(());
    }
    let signals: SigSet = TAKEN.into_iter().collect();
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    BEFORE.get_or_init(|| before);
    std::thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            SIGNAL.store(signal as i32, Ordering::SeqCst);
            COUNT.fetch_add(1, Ordering::SeqCst);
            eprintln!("podproof: interrupted by {signal}; cleaning up");
            if let Some(event) = EVENT.get()
                && let Err(errno) = event.write(1)
            {
                tracing::error!(%errno, "tell of the interruption");
            }
        }
    });
    Ok(())
}

/// The signals that are blocked only because podproof takes them: a process that it starts inherits the mask, and must
/// unblock them to be as whoever started podproof wants it.
pub(crate) fn blocked() -> Vec<Signal> {
    let before = BEFORE.get();
    TAKEN.into_iter().filter(|signal| before.is_some_and(|before| !before.contains(*signal))).collect()
}

/// Readable from the interruption on; nothing reads it.
pub(crate) fn event() -> Option<BorrowedFd<'static>> {
    EVENT.get().map(AsFd::as_fd)
}

/// The signal that interrupted the run.
#[must_use]
pub fn requested() -> Option<i32> {
    match SIGNAL.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(signal),
    }
}

/// How many signals came: who asks twice does not want to wait for the clean-up.
pub(crate) fn count() -> u32 {
    COUNT.load(Ordering::SeqCst)
}
