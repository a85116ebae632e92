//! Namespace sharing and isolation.

mod membership;
mod ns_01;
mod ns_02;
mod ns_05;
mod ns_06;
mod ns_07;
mod ns_10;
mod ns_11;
mod ns_16;
mod ns_17;
mod ns_20;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[
    ns_01::CHECK,
    ns_02::CHECK,
    ns_05::CHECK,
    ns_06::CHECK,
    ns_07::CHECK,
    ns_10::CHECK,
    ns_11::CHECK,
    ns_16::CHECK,
    ns_17::CHECK,
    ns_20::CHECK,
];
