//! File system.

mod fs_01;
mod fs_02;
mod fs_11;
mod fs_19;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[fs_01::CHECK, fs_02::CHECK, fs_11::CHECK, fs_19::CHECK];
