//! Defects against: robustness.

mod robust_01_unfinished_unknown;
mod robust_01_waits_for_ever;
mod robust_06_fixed_file;
mod robust_06_pool_empty;
mod robust_17_busy;
mod robust_17_late_monitor;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    robust_01_unfinished_unknown::DEFECT,
    robust_01_waits_for_ever::DEFECT,
    robust_06_fixed_file::DEFECT,
    robust_06_pool_empty::DEFECT,
    robust_17_busy::DEFECT,
    robust_17_late_monitor::DEFECT,
];
