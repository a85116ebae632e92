//! Named semaphores (sem_overview(7)).

use std::ffi::CString;
use std::ptr::NonNull;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

/// An open named semaphore; closed on drop.
#[derive(Debug)]
pub(crate) struct NamedSemaphore(NonNull<libc::sem_t>);

impl Drop for NamedSemaphore {
    fn drop(&mut self) {
        // SAFETY: sem_open(3) returned this address, and nothing uses it after `self`.
        unsafe { libc::sem_close(self.0.as_ptr()) };
    }
}

impl NamedSemaphore {
    /// Makes one with value 0, which must not be there.
    ///
    /// # Errors
    /// That of sem_open(3).
    pub(crate) fn create(name: &str) -> Result<Self, Errno> {
        let name = CString::new(name).or(Err(Errno::EINVAL))?;
        let (mode, value): (libc::c_uint, libc::c_uint) = (0o600, 0);
        // SAFETY: the name is a string that outlives the call, and O_CREAT takes these two arguments.
        Self::owned(unsafe { libc::sem_open(name.as_ptr(), libc::O_CREAT | libc::O_EXCL, mode, value) })
    }

    /// The one with this name.
    ///
    /// # Errors
    /// That of sem_open(3).
    pub(crate) fn open(name: &str) -> Result<Self, Errno> {
        let name = CString::new(name).or(Err(Errno::EINVAL))?;
        // SAFETY: the name is a string that outlives the call.
        Self::owned(unsafe { libc::sem_open(name.as_ptr(), 0) })
    }

    /// `SEM_FAILED` is the null pointer.
    fn owned(opened: *mut libc::sem_t) -> Result<Self, Errno> {
        NonNull::new(opened).map(Self).ok_or_else(Errno::last)
    }

    /// Adds one.
    ///
    /// # Errors
    /// That of sem_post(3).
    pub(crate) fn post(&self) -> Result<(), Errno> {
        // SAFETY: the semaphore is open as long as `self` lives.
        Errno::result(unsafe { libc::sem_post(self.0.as_ptr()) }).map(drop)
    }

    /// Takes one when that can be done within the time.
    ///
    /// # Errors
    /// That of sem_timedwait(3): `ETIMEDOUT` when the time was over first.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), Errno> {
        let until = clock_gettime(ClockId::CLOCK_REALTIME)? + TimeSpec::from(timeout);
        // SAFETY: the semaphore is open as long as `self` lives, and the time outlives the call.
        Errno::result(unsafe { libc::sem_timedwait(self.0.as_ptr(), until.as_ref()) }).map(drop)
    }
}
