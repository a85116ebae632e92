//! Defects against: PID 1 and process identity.

mod pid_01_wrapper;
mod pid_02_inner_pid;
mod pid_03_node_proc;
mod pid_05_child_of_pause;
mod pid_06_init_in_front;
mod pid_09_no_pid_namespace;
mod pid_18_pids_of_the_node;
mod pid_20_hup_exits;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    pid_01_wrapper::DEFECT,
    pid_02_inner_pid::DEFECT,
    pid_03_node_proc::DEFECT,
    pid_05_child_of_pause::DEFECT,
    pid_06_init_in_front::DEFECT,
    pid_09_no_pid_namespace::DEFECT,
    pid_18_pids_of_the_node::DEFECT,
    pid_20_hup_exits::DEFECT,
];
