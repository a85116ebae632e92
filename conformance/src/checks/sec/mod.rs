//! Isolation and security.

mod sec_01;
mod sec_07;
mod sec_09;
mod sec_11;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[sec_01::CHECK, sec_07::CHECK, sec_09::CHECK, sec_11::CHECK];
