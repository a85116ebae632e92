//! The network of a pod.

mod net_02;
mod net_15;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[net_02::CHECK, net_15::CHECK];
