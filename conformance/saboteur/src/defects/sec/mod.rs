//! Defects against: isolation and security.

mod sec_01_ambient_kept;
mod sec_09_leaked_descriptor;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[sec_01_ambient_kept::DEFECT, sec_09_leaked_descriptor::DEFECT];
