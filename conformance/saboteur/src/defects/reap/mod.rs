//! Defects against: zombie reaping.

mod reap_01_never_reaps;
mod reap_02_one_per_signal;
mod reap_03_polls;
mod reap_04_forgets_at_cont;
mod reap_05_own_group;
mod reap_06_never_shares;
mod reap_07_ignores_children;
mod reap_08_reports_zero;
mod reap_09_bare_number;
mod reap_10_told_of_stops;
mod reap_11_ticks;
mod reap_12_gives_up;
mod reap_13_keeps_the_orphans;
mod reap_14_never_waits;
mod reap_15_zombie_leader;
mod reap_16_refuses;
mod reap_17_assumes_init;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    reap_01_never_reaps::DEFECT,
    reap_02_one_per_signal::DEFECT,
    reap_03_polls::DEFECT,
    reap_04_forgets_at_cont::DEFECT,
    reap_05_own_group::DEFECT,
    reap_06_never_shares::DEFECT,
    reap_07_ignores_children::DEFECT,
    reap_08_reports_zero::DEFECT,
    reap_09_bare_number::DEFECT,
    reap_10_told_of_stops::DEFECT,
    reap_11_ticks::DEFECT,
    reap_12_gives_up::DEFECT,
    reap_13_keeps_the_orphans::DEFECT,
    reap_14_never_waits::DEFECT,
    reap_15_zombie_leader::DEFECT,
    reap_16_refuses::DEFECT,
    reap_17_assumes_init::DEFECT,
];
