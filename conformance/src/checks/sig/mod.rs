//! Signals and termination.

mod sig_01;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[sig_01::CHECK];
