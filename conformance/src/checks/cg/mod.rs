//! Cgroup v2 limits.

mod cg_02;
mod cg_03;
mod cg_10;
mod cg_14;
mod cg_23;
mod cg_28;
mod cg_36;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] =
    &[cg_02::CHECK, cg_03::CHECK, cg_10::CHECK, cg_14::CHECK, cg_23::CHECK, cg_28::CHECK, cg_36::CHECK];
