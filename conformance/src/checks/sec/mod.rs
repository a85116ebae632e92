//! Isolation and security.

mod sec_01;
mod sec_09;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[sec_01::CHECK, sec_09::CHECK];
