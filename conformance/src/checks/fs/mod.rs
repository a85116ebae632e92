//! File system.

mod fs_01;
mod fs_19;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[fs_01::CHECK, fs_19::CHECK];
