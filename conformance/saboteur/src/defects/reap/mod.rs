//! Defects against: zombie reaping.

mod reap_15_zombie_leader;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[reap_15_zombie_leader::DEFECT];
