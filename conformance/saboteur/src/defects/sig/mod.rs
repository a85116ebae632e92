//! Defects against: signals and termination.

mod sig_01_deaf_pause;
mod sig_14_shifted;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[sig_01_deaf_pause::DEFECT, sig_14_shifted::DEFECT];
