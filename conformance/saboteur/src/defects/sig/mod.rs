//! Defects against: signals and termination.

mod sig_01_deaf_pause;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[sig_01_deaf_pause::DEFECT];
