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
mod ns_11_crashes;
mod ns_12_falls_back;
mod ns_12_no_rollback;
mod ns_13_last_wins;
mod ns_14_own_cwd;
mod ns_15_only_proc;
mod ns_16_dies_with_the_last;
mod ns_17_own_ipc_again;
mod ns_18_open_namespace;
mod ns_19_only_net;
mod ns_20_own_ipc;
mod ns_21_left_again;
mod ns_22_mounted_too_early;
mod ns_22_mqueue_of_node;
mod ns_23_own_shm;
mod ns_24_fresh_ipc;
mod ns_25_mqueue_skipped;
mod ns_25_on_the_node;
mod ns_26_before_unshare;
mod ns_27_first_pods_paths;
mod ns_28_ipc_too;
mod ns_29_the_nodes;
mod ns_30_unshared_first;
mod ns_31_own_userns;
mod ns_31_uids_for_gids;
mod ns_32_net_first;
mod ns_33_fixed_range;
mod ns_34_always_unshared;
mod ns_35_one_dropped;
mod ns_36_monotonic_only;
mod ns_36_too_late;
mod ns_37_ignored;
mod ns_38_pids_of_the_sandbox;
mod ns_39_only_the_first;
mod ns_39_own_cgroup;
mod ns_40_half_unshared;

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
    ns_11_crashes::DEFECT,
    ns_12_falls_back::DEFECT,
    ns_12_no_rollback::DEFECT,
    ns_13_last_wins::DEFECT,
    ns_14_own_cwd::DEFECT,
    ns_15_only_proc::DEFECT,
    ns_16_dies_with_the_last::DEFECT,
    ns_17_own_ipc_again::DEFECT,
    ns_18_open_namespace::DEFECT,
    ns_19_only_net::DEFECT,
    ns_20_own_ipc::DEFECT,
    ns_21_left_again::DEFECT,
    ns_22_mounted_too_early::DEFECT,
    ns_22_mqueue_of_node::DEFECT,
    ns_23_own_shm::DEFECT,
    ns_24_fresh_ipc::DEFECT,
    ns_25_on_the_node::DEFECT,
    ns_25_mqueue_skipped::DEFECT,
    ns_26_before_unshare::DEFECT,
    ns_27_first_pods_paths::DEFECT,
    ns_28_ipc_too::DEFECT,
    ns_29_the_nodes::DEFECT,
    ns_30_unshared_first::DEFECT,
    ns_31_own_userns::DEFECT,
    ns_31_uids_for_gids::DEFECT,
    ns_32_net_first::DEFECT,
    ns_33_fixed_range::DEFECT,
    ns_34_always_unshared::DEFECT,
    ns_35_one_dropped::DEFECT,
    ns_36_too_late::DEFECT,
    ns_36_monotonic_only::DEFECT,
    ns_37_ignored::DEFECT,
    ns_38_pids_of_the_sandbox::DEFECT,
    ns_39_own_cgroup::DEFECT,
    ns_39_only_the_first::DEFECT,
    ns_40_half_unshared::DEFECT,
];
