//! Defects against: zombie reaping.

mod reap_01_never_reaps;
mod reap_02_one_per_signal;
mod reap_06_never_shares;
mod reap_08_reports_zero;
mod reap_09_bare_number;
mod reap_15_zombie_leader;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    reap_01_never_reaps::DEFECT,
    reap_02_one_per_signal::DEFECT,
    reap_06_never_shares::DEFECT,
    reap_08_reports_zero::DEFECT,
    reap_09_bare_number::DEFECT,
    reap_15_zombie_leader::DEFECT,
];
