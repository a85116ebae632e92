//! Life cycle.

mod life_01;
mod life_02;
mod life_03;
mod life_10;
mod life_26;
mod life_27;
mod life_28;
mod life_30;
mod life_34;
mod restarts;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[
    life_01::CHECK,
    life_02::CHECK,
    life_03::CHECK,
    life_10::CHECK,
    life_26::CHECK,
    life_27::CHECK,
    life_28::CHECK,
    life_30::CHECK,
    life_34::CHECK,
];
