//! Defects against: life cycle.

mod life_01_started_at_create;
mod life_02_not_started;
mod life_03_cached_status;
mod life_10_state_left;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    life_01_started_at_create::DEFECT,
    life_02_not_started::DEFECT,
    life_03_cached_status::DEFECT,
    life_10_state_left::DEFECT,
];
