//! Signals and termination.

mod grace;
mod sandbox_end;
mod sig_01;
mod sig_02;
mod sig_03;
mod sig_04;
mod sig_05;
mod sig_06;
mod sig_07;
mod sig_08;
mod sig_09;
mod sig_10;
mod sig_11;
mod sig_12;
mod sig_13;
mod sig_14;
mod sig_15;
mod sig_16;
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
    sig_04::CHECK,
    sig_05::CHECK,
    sig_06::CHECK,
    sig_07::CHECK,
    sig_08::CHECK,
    sig_09::CHECK,
    sig_10::CHECK,
    sig_11::CHECK,
    sig_12::CHECK,
    sig_13::CHECK,
    sig_14::CHECK,
    sig_15::CHECK,
    sig_16::CHECK,
    sig_18::CHECK,
    sig_19::CHECK,
    sig_20::CHECK,
    sig_21::CHECK,
    sig_22::CHECK,
];
