//! Signals and termination.

mod sig_01;
mod sig_04;
mod sig_05;
mod sig_06;
mod sig_07;
mod sig_10;
mod sig_11;
mod sig_12;
mod sig_14;
mod sig_15;
mod sig_16;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[
    sig_01::CHECK,
    sig_04::CHECK,
    sig_05::CHECK,
    sig_06::CHECK,
    sig_07::CHECK,
    sig_10::CHECK,
    sig_11::CHECK,
    sig_12::CHECK,
    sig_14::CHECK,
    sig_15::CHECK,
    sig_16::CHECK,
];
