//! Defects against: PID 1 and process identity.

mod pid_01_wrapper;
mod pid_02_inner_pid;
mod pid_03_node_proc;
mod pid_04_proc_before_join;
mod pid_04_second_alone;
mod pid_05_child_of_pause;
mod pid_06_init_in_front;
mod pid_07_term_into_kill;
mod pid_08_sent_from_inside;
mod pid_09_no_pid_namespace;
mod pid_10_until_empty;
mod pid_10_until_reaped;
mod pid_11_any_sigchld;
mod pid_12_retries;
mod pid_13_node_pids;
mod pid_14_second_proc;
mod pid_15_adopted_between;
mod pid_16_second_subreaper;
mod pid_16_subreaper;
mod pid_17_flag_swallowed;
mod pid_18_pids_of_the_node;
mod pid_19_main_only;
mod pid_20_hup_exits;
mod pid_21_kill_for_all;
mod pid_22_ptrace_for_root;
mod pid_23_execs_not_reaped;
mod pid_23_fifth_not_reaped;
mod pid_24_init_in_its_name;
mod pid_25_node_pids;

use super::Defect;

/// The defects of this area, in the order of the catalog.
pub(super) const DEFECTS: &[Defect] = &[
    pid_01_wrapper::DEFECT,
    pid_02_inner_pid::DEFECT,
    pid_03_node_proc::DEFECT,
    pid_04_proc_before_join::DEFECT,
    pid_04_second_alone::DEFECT,
    pid_05_child_of_pause::DEFECT,
    pid_06_init_in_front::DEFECT,
    pid_07_term_into_kill::DEFECT,
    pid_08_sent_from_inside::DEFECT,
    pid_09_no_pid_namespace::DEFECT,
    pid_10_until_empty::DEFECT,
    pid_10_until_reaped::DEFECT,
    pid_11_any_sigchld::DEFECT,
    pid_12_retries::DEFECT,
    pid_13_node_pids::DEFECT,
    pid_14_second_proc::DEFECT,
    pid_15_adopted_between::DEFECT,
    pid_16_subreaper::DEFECT,
    pid_16_second_subreaper::DEFECT,
    pid_17_flag_swallowed::DEFECT,
    pid_18_pids_of_the_node::DEFECT,
    pid_19_main_only::DEFECT,
    pid_20_hup_exits::DEFECT,
    pid_21_kill_for_all::DEFECT,
    pid_22_ptrace_for_root::DEFECT,
    pid_23_execs_not_reaped::DEFECT,
    pid_23_fifth_not_reaped::DEFECT,
    pid_24_init_in_its_name::DEFECT,
    pid_25_node_pids::DEFECT,
];
