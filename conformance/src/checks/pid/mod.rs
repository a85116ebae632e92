//! PID 1 and process identity.

mod pid_01;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[pid_01::CHECK];
