//! Signals and termination.

pub(super) mod sig_01;
