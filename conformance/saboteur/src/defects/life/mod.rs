//! Defects against: life cycle.

mod life_01_started_at_create;
mod life_02_not_started;
mod life_02_tried_twice;
mod life_03_cached_status;
mod life_03_running_until_reaped;
mod life_10_deleted_later;
mod life_10_state_left;
mod life_26_exit_0_final;
mod life_27_signal_is_success;
mod life_28_one_restart;
mod life_30_all_together;
mod life_30_failure_is_enough;
mod life_34_pod_taken_down;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    life_01_started_at_create::DEFECT,
    life_02_not_started::DEFECT,
    life_02_tried_twice::DEFECT,
    life_03_cached_status::DEFECT,
    life_03_running_until_reaped::DEFECT,
    life_10_state_left::DEFECT,
    life_10_deleted_later::DEFECT,
    life_26_exit_0_final::DEFECT,
    life_27_signal_is_success::DEFECT,
    life_28_one_restart::DEFECT,
    life_30_all_together::DEFECT,
    life_30_failure_is_enough::DEFECT,
    life_34_pod_taken_down::DEFECT,
];
