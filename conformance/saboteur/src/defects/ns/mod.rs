//! Defects against: namespace sharing and isolation.

mod ns_01_own_netns;
mod ns_02_ipc_not_joined;
mod ns_05_inherited_pid;
mod ns_06_no_fork;
mod ns_07_sandbox_mounts;
mod ns_10_cgroup_forgotten;
mod ns_11_any_type;
mod ns_16_dies_with_the_last;
mod ns_17_own_ipc_again;
mod ns_20_own_ipc;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    ns_01_own_netns::DEFECT,
    ns_02_ipc_not_joined::DEFECT,
    ns_05_inherited_pid::DEFECT,
    ns_06_no_fork::DEFECT,
    ns_07_sandbox_mounts::DEFECT,
    ns_10_cgroup_forgotten::DEFECT,
    ns_11_any_type::DEFECT,
    ns_16_dies_with_the_last::DEFECT,
    ns_17_own_ipc_again::DEFECT,
    ns_20_own_ipc::DEFECT,
];
