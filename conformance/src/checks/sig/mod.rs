//! Signals and termination.

mod sig_01;
mod sig_14;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[sig_01::CHECK, sig_14::CHECK];
