//! Robustness.

mod robust_01;
mod robust_06;
mod robust_17;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[robust_01::CHECK, robust_06::CHECK, robust_17::CHECK];
