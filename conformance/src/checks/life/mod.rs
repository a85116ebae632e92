//! Life cycle.

mod life_01;
mod life_02;
mod life_03;
mod life_10;
mod life_34;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] =
    &[life_01::CHECK, life_02::CHECK, life_03::CHECK, life_10::CHECK, life_34::CHECK];
