//! A failed system call: what was attempted, and its error number.

use std::fmt;
use std::io;

use nix::errno::Errno;
use podproof_witness::Outcome;

/// Operation with its object, and why it failed.
#[derive(Debug)]
pub(crate) struct Failure {
    op: String,
    errno: Errno,
}

impl Failure {
    /// Names the operation that failed.
    pub(crate) fn new(op: impl Into<String>, errno: Errno) -> Self {
        Self { op: op.into(), errno }
    }

    /// Why it failed.
    pub(crate) fn errno(&self) -> Errno {
        self.errno
    }

    /// The form in which the suite learns of it.
    pub(crate) fn into_outcome(self) -> Outcome {
        Outcome::Failed { op: self.op, errno: self.errno as i32 }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.op, self.errno.desc())
    }
}

/// Error number of an error of the standard library.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    match (error.raw_os_error(), error.kind()) {
        (Some(number), _) => Errno::from_raw(number),
        (None, io::ErrorKind::TimedOut) => Errno::ETIMEDOUT,
        (None, io::ErrorKind::UnexpectedEof) => Errno::ENODATA,
        (None, io::ErrorKind::InvalidData) => Errno::EPROTO,
        (None, _) => Errno::EIO,
    }
}

/// Adds the operation to an error number.
pub(crate) trait During<T> {
    /// Turns the error into a [`Failure`] of the named operation.
    fn during(self, op: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, op: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(op(), errno))
    }
}

impl<T> During<T> for io::Result<T> {
    fn during(self, op: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(op(), errno_of(&error)))
    }
}
