//! Ctrl-C: a run that is interrupted still cleans up after itself.
//!
//! The signals are blocked in every thread and taken by one that waits for them; whoever waits for a runtime or a
//! witness also waits for this, gives up, and the cells close as they always do.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};

static EVENT: OnceLock<EventFd> = OnceLock::new();
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
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
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
