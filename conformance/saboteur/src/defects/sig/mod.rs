//! Defects against: signals and termination.

mod sig_01_deaf_pause;
mod sig_02_only_term;
mod sig_03_ends_on_hup;
mod sig_09_escalates;
mod sig_14_shifted;
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
    sig_09_escalates::DEFECT,
    sig_14_shifted::DEFECT,
    sig_18_main_only::DEFECT,
    sig_18_kills_the_siblings::DEFECT,
    sig_19_passes_children_on::DEFECT,
    sig_19_leaves_a_mask::DEFECT,
    sig_20_waits_for_the_thaw::DEFECT,
    sig_21_unknown_is_zero::DEFECT,
    sig_21_wraps::DEFECT,
    sig_22_by_number::DEFECT,
];
