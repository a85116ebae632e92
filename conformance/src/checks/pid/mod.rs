//! PID 1 and process identity.

mod pid_01;
mod pid_02;
mod pid_03;
mod pid_05;
mod pid_06;
mod pid_09;
mod pid_18;
mod pid_20;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[
    pid_01::CHECK,
    pid_02::CHECK,
    pid_03::CHECK,
    pid_05::CHECK,
    pid_06::CHECK,
    pid_09::CHECK,
    pid_18::CHECK,
    pid_20::CHECK,
];
