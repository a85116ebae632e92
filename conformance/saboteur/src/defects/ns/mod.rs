//! Defects against: namespace sharing and isolation.

mod ns_01_own_netns;
mod ns_02_ipc_not_joined;
mod ns_03_copied_name;
mod ns_03_named_again;
mod ns_05_inherited_pid;
mod ns_06_no_fork;
mod ns_07_sandbox_mounts;
mod ns_08_always_ipc;
mod ns_09_time_ignored;
mod ns_10_cgroup_forgotten;
mod ns_11_any_type;
mod ns_12_falls_back;
mod ns_12_no_rollback;
mod ns_13_last_wins;
mod ns_14_own_cwd;
mod ns_15_only_proc;
mod ns_16_dies_with_the_last;
mod ns_18_open_namespace;
mod ns_20_own_ipc;
mod ns_21_left_again;
mod ns_22_mounted_too_early;
mod ns_22_mqueue_of_node;
mod ns_23_own_shm;
mod ns_24_fresh_ipc;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    ns_01_own_netns::DEFECT,
    ns_02_ipc_not_joined::DEFECT,
    ns_03_copied_name::DEFECT,
    ns_03_named_again::DEFECT,
    ns_05_inherited_pid::DEFECT,
    ns_06_no_fork::DEFECT,
    ns_07_sandbox_mounts::DEFECT,
    ns_08_always_ipc::DEFECT,
    ns_09_time_ignored::DEFECT,
    ns_10_cgroup_forgotten::DEFECT,
    ns_11_any_type::DEFECT,
    ns_12_falls_back::DEFECT,
    ns_12_no_rollback::DEFECT,
    ns_13_last_wins::DEFECT,
    ns_14_own_cwd::DEFECT,
    ns_15_only_proc::DEFECT,
    ns_16_dies_with_the_last::DEFECT,
    ns_18_open_namespace::DEFECT,
    ns_20_own_ipc::DEFECT,
    ns_21_left_again::DEFECT,
    ns_22_mounted_too_early::DEFECT,
    ns_22_mqueue_of_node::DEFECT,
    ns_23_own_shm::DEFECT,
    ns_24_fresh_ipc::DEFECT,
];
