//! Defects against: signals and termination.

mod sig_01_deaf_pause;
mod sig_02_only_term;
mod sig_03_ends_on_hup;
mod sig_04_whole_group;
mod sig_05_killed_at_once;
mod sig_05_late;
mod sig_06_full_grace;
mod sig_07_always_term;
mod sig_08_image_wins;
mod sig_09_escalates;
mod sig_10_means_default;
mod sig_11_grace_restarts;
mod sig_11_no_hook;
mod sig_12_patient;
mod sig_13_ten_seconds;
mod sig_14_shifted;
mod sig_15_sandbox_first;
mod sig_16_all_at_once;
mod sig_18_kills_the_siblings;
mod sig_18_main_only;
mod sig_19_leaves_a_mask;
mod sig_19_passes_children_on;
mod sig_20_waits_for_the_thaw;
mod sig_21_unknown_is_zero;
mod sig_21_wraps;
mod sig_22_by_number;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    sig_01_deaf_pause::DEFECT,
    sig_02_only_term::DEFECT,
    sig_03_ends_on_hup::DEFECT,
    sig_04_whole_group::DEFECT,
    sig_05_killed_at_once::DEFECT,
    sig_05_late::DEFECT,
    sig_06_full_grace::DEFECT,
    sig_07_always_term::DEFECT,
    sig_08_image_wins::DEFECT,
    sig_09_escalates::DEFECT,
    sig_10_means_default::DEFECT,
    sig_11_grace_restarts::DEFECT,
    sig_11_no_hook::DEFECT,
    sig_12_patient::DEFECT,
    sig_13_ten_seconds::DEFECT,
    sig_14_shifted::DEFECT,
    sig_15_sandbox_first::DEFECT,
    sig_16_all_at_once::DEFECT,
    sig_18_kills_the_siblings::DEFECT,
    sig_18_main_only::DEFECT,
    sig_19_leaves_a_mask::DEFECT,
    sig_19_passes_children_on::DEFECT,
    sig_20_waits_for_the_thaw::DEFECT,
    sig_21_unknown_is_zero::DEFECT,
    sig_21_wraps::DEFECT,
    sig_22_by_number::DEFECT,
];
