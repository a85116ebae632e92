//! Signals and termination.

mod sandbox_end;
mod sig_01;
mod sig_02;
mod sig_03;
mod sig_09;
mod sig_14;
mod sig_18;
mod sig_19;
mod sig_20;
mod sig_21;
mod sig_22;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[
    sig_01::CHECK,
    sig_02::CHECK,
    sig_03::CHECK,
    sig_09::CHECK,
    sig_14::CHECK,
    sig_18::CHECK,
    sig_19::CHECK,
    sig_20::CHECK,
    sig_21::CHECK,
    sig_22::CHECK,
];
