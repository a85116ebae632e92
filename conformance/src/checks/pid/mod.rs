//! PID 1 and process identity.

pub(super) mod pid_01;
