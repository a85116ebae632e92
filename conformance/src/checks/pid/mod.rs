//! PID 1 and process identity.

mod adoption;
mod census;
mod letter;
mod pid_01;
mod pid_02;
mod pid_03;
mod pid_04;
mod pid_05;
mod pid_06;
mod pid_07;
mod pid_08;
mod pid_09;
mod pid_10;
mod pid_11;
mod pid_12;
mod pid_13;
mod pid_14;
mod pid_15;
mod pid_16;
mod pid_17;
mod pid_18;
mod pid_19;
mod pid_20;
mod pid_21;
mod pid_22;
mod pid_23;
mod pid_24;
mod pid_25;
mod users;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[
    pid_01::CHECK,
    pid_02::CHECK,
    pid_03::CHECK,
    pid_04::CHECK,
    pid_05::CHECK,
    pid_06::CHECK,
    pid_07::CHECK,
    pid_08::CHECK,
    pid_09::CHECK,
    pid_10::CHECK,
    pid_11::CHECK,
    pid_12::CHECK,
    pid_13::CHECK,
    pid_14::CHECK,
    pid_15::CHECK,
    pid_16::CHECK,
    pid_17::CHECK,
    pid_18::CHECK,
    pid_19::CHECK,
    pid_20::CHECK,
    pid_21::CHECK,
    pid_22::CHECK,
    pid_23::CHECK,
    pid_24::CHECK,
    pid_25::CHECK,
];
