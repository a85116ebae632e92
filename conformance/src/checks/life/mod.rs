//! Life cycle.

mod life_02;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[life_02::CHECK];
