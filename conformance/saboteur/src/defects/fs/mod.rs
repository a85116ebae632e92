//! Defects against: file system.

mod fs_01_bound_below_dev;
mod fs_01_old_root_left;
mod fs_02_chroot_only;
mod fs_11_directory_writable;
mod fs_11_missing_path_ends_it;
mod fs_19_cleared;
mod fs_19_own_volume;
mod fs_19_put_back;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    fs_01_bound_below_dev::DEFECT,
    fs_01_old_root_left::DEFECT,
    fs_02_chroot_only::DEFECT,
    fs_11_directory_writable::DEFECT,
    fs_11_missing_path_ends_it::DEFECT,
    fs_19_cleared::DEFECT,
    fs_19_own_volume::DEFECT,
    fs_19_put_back::DEFECT,
];
