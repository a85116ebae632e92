//! Isolation and security.

use super::Check;

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[];
