//! How PID 1 names what failed: the operation, its object and the cause, on one line of the console.

use std::fmt;

/// A step that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    op: &'static str,
    object: String,
    cause: String,
}

impl Failure {
    pub(crate) fn new(op: &'static str, object: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self { op, object: object.into(), cause: cause.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.op, self.object, self.cause)
    }
}

/// Gives a failing call its operation and its object.
pub(crate) trait Step<T> {
    fn step(self, op: &'static str, object: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Step<T> for Result<T, E> {
    fn step(self, op: &'static str, object: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|cause| Failure::new(op, object, cause))
    }
}
