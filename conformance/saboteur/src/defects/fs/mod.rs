//! Defects against: file system.

mod fs_01_old_root_left;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[fs_01_old_root_left::DEFECT];
