//! Defects against: PID 1 and process identity.

mod pid_01_wrapper;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[pid_01_wrapper::DEFECT];
