//! Clocks, timers, and waiting for a descriptor.
#![allow(unsafe_code, reason = "raw setitimer, sigsuspend and poll")]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::Res;

/// `CLOCK_BOOTTIME` in nanoseconds.
pub(crate) fn boottime_ns() -> Res<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)?;
    Ok(u64::try_from(now.tv_sec())? * 1_000_000_000 + u64::try_from(now.tv_nsec())?)
}

/// Returns when a timer of this length has run off.
pub(crate) fn wait_for_timer(length: Duration) -> Res<()> {
    let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC)?;
    timer.set(Expiration::OneShot(TimeSpec::from_duration(length)), TimerSetTimeFlags::empty())?;
    Ok(timer.wait()?)
}

fn set_timer(first: Duration, interval: Duration) -> Res<()> {
    let value = |time: Duration| libc::timeval {
        tv_sec: time.as_secs().cast_signed(),
        tv_usec: time.subsec_micros().into(),
    };
    let timer = libc::itimerval { it_interval: value(interval), it_value: value(first) };
    // SAFETY: the timer is complete; the old one is not asked for.
    match unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// Sends the calling process SIGALRM again and again; zero ends that.
pub(crate) fn alarm_every(interval: Duration) -> Res<()> {
    set_timer(interval, interval)
}

/// Sends the calling process one SIGALRM.
pub(crate) fn alarm_once(after: Duration) -> Res<()> {
    set_timer(after, Duration::ZERO)
}

/// Waits, with every signal let through, until a handler has run.
pub(crate) fn wait_for_handler() {
    // SAFETY: zero is a value of every member; sigemptyset makes it a set.
    let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` is a valid place.
    unsafe { libc::sigemptyset(&raw mut none) };
    // SAFETY: `none` is an initialised set. It returns when a handler has run, always with EINTR.
    unsafe { libc::sigsuspend(&raw const none) };
}

fn poll(fd: impl AsFd, events: i16, patience: Duration) -> Res<bool> {
    let mut entry = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events, revents: 0 };
    // SAFETY: one entry, which outlives the call.
    match Errno::result(unsafe { libc::poll(&raw mut entry, 1, i32::try_from(patience.as_millis())?) }) {
        Ok(ready) => Ok(ready > 0),
        // The callers ask again.
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether something can be read, or the other end is closed.
pub(crate) fn is_readable(fd: impl AsFd) -> Res<bool> {
    poll(fd, libc::POLLIN, Duration::ZERO)
}

/// Waits until a kernel file that was read before has changed; false when it does not in time.
pub(crate) fn has_changed(fd: impl AsFd, patience: Duration) -> Res<bool> {
    poll(fd, libc::POLLPRI, patience)
}
