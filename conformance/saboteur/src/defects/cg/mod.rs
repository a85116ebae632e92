//! Defects against: cgroup v2 limits.

mod cg_02_limit_on_pod;
mod cg_02_no_memory_limit;
mod cg_03_any_137;
mod cg_10_other_period;
mod cg_10_quota_on_parent;
mod cg_14_no_pids_limit;
mod cg_23_no_pod_limit;
mod cg_28_late_limits;
mod cg_28_lifted_at_start;
mod cg_36_subgroups_left;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    cg_02_no_memory_limit::DEFECT,
    cg_02_limit_on_pod::DEFECT,
    cg_03_any_137::DEFECT,
    cg_10_quota_on_parent::DEFECT,
    cg_10_other_period::DEFECT,
    cg_14_no_pids_limit::DEFECT,
    cg_23_no_pod_limit::DEFECT,
    cg_28_late_limits::DEFECT,
    cg_28_lifted_at_start::DEFECT,
    cg_36_subgroups_left::DEFECT,
];
