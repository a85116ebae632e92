//! Zombie reaping, and what a zombie thread-group leader is not.

mod codes;
pub(super) mod orphans;
mod reap_01;
mod reap_02;
mod reap_06;
mod reap_08;
mod reap_09;
mod reap_15;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] =
    &[reap_01::CHECK, reap_02::CHECK, reap_06::CHECK, reap_08::CHECK, reap_09::CHECK, reap_15::CHECK];
