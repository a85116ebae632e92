//! Defects against: life cycle.

mod life_02_not_started;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[life_02_not_started::DEFECT];
