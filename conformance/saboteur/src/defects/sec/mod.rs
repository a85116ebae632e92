//! Defects against: isolation and security.

mod sec_01_ambient_kept;
mod sec_01_user_without_ambient;
mod sec_07_exec_unfiltered;
mod sec_07_other_errno;
mod sec_09_first_kept;
mod sec_09_leaked_descriptor;
mod sec_11_unchecked_cwd;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    sec_01_ambient_kept::DEFECT,
    sec_01_user_without_ambient::DEFECT,
    sec_07_exec_unfiltered::DEFECT,
    sec_07_other_errno::DEFECT,
    sec_09_leaked_descriptor::DEFECT,
    sec_09_first_kept::DEFECT,
    sec_11_unchecked_cwd::DEFECT,
];
