//! Namespace sharing and isolation.

mod ns_01;

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[ns_01::CHECK];
