//! Zombie reaping, and what a zombie thread-group leader is not.

mod reap_15;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[reap_15::CHECK];
