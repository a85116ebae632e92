//! Defects against: namespace sharing and isolation.

mod ns_01_own_netns;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[ns_01_own_netns::DEFECT];
