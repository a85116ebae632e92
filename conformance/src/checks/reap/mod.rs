//! Zombie reaping, and what a zombie thread-group leader is not.

mod codes;
pub(super) mod orphans;
mod reap_01;
mod reap_02;
mod reap_03;
mod reap_04;
mod reap_05;
mod reap_06;
mod reap_07;
mod reap_08;
mod reap_09;
mod reap_10;
mod reap_11;
mod reap_12;
mod reap_13;
mod reap_14;
mod reap_15;
mod reap_16;
mod reap_17;
mod standstill;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[
    reap_01::CHECK,
    reap_02::CHECK,
    reap_03::CHECK,
    reap_04::CHECK,
    reap_05::CHECK,
    reap_06::CHECK,
    reap_07::CHECK,
    reap_08::CHECK,
    reap_09::CHECK,
    reap_10::CHECK,
    reap_11::CHECK,
    reap_12::CHECK,
    reap_13::CHECK,
    reap_14::CHECK,
    reap_15::CHECK,
    reap_16::CHECK,
    reap_17::CHECK,
];
