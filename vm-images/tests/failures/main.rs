//! How machines end, each way with a real machine: results, records, and every kind of failure with its own message,
//! within its deadline, and with exit status 3 (2 where there was no machine).
//!
//! Needs `PODPROOF_TEST_KERNEL_TREES` (`SERIES=DIR:SERIES=DIR`, unpacked kernel packages), `PODPROOF_TEST_BUSYBOX`,
//! `PODPROOF_TEST_INIT` and QEMU, which `cargo xtask test` provides; what is missing makes the tests ignored, with that
//! reason. With `PODPROOF_TEST_FULL` every test runs under every kernel.

mod machine;
mod outside;
mod results;
mod stops;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use machine::Site;

/// A test; what it needs is in the site.
type Test = fn(&Site) -> Result<(), Failed>;

/// Under every kernel, in every run: what depends on the kernel most.
const EVERYWHERE: [(&str, Test); 4] = [
    ("results::exit_code_and_output_arrive", results::exit_code_and_output_arrive),
    ("results::records_are_whole_and_in_order", results::records_are_whole_and_in_order),
    ("stops::panic", stops::panic),
    ("stops::command_hangs", stops::command_hangs),
];

const ONCE: [(&str, Test); 16] = [
    ("results::signal_of_the_command", results::signal_of_the_command),
    ("results::torn_record_is_dropped", results::torn_record_is_dropped),
    ("results::guest_is_furnished", results::guest_is_furnished),
    ("results::demanded_kvm_works_or_fails_loudly", results::demanded_kvm_works_or_fails_loudly),
    ("stops::guest_hangs", stops::guest_hangs),
    ("stops::out_of_memory", stops::out_of_memory),
    ("stops::early_power_off", stops::early_power_off),
    ("stops::early_restart", stops::early_restart),
    ("stops::command_is_missing", stops::command_is_missing),
    ("stops::kernel_without_its_modules", stops::kernel_without_its_modules),
    ("stops::file_is_no_kernel", stops::file_is_no_kernel),
    ("stops::image_does_not_fit", stops::image_does_not_fit),
    ("outside::interrupt_leaves_no_qemu", outside::interrupt_leaves_no_qemu),
    ("outside::killed_parent_leaves_no_qemu", outside::killed_parent_leaves_no_qemu),
    ("outside::no_qemu", outside::no_qemu),
    ("outside::early_death_is_retried_once", outside::early_death_is_retried_once),
];

fn main() -> ExitCode {
    if let Some(command) = outside::own_role() {
        return outside::play(&command);
    }
    let sites = Site::all();
    let is_full = std::env::var_os("PODPROOF_TEST_FULL").is_some();
    let mut trials = Vec::new();
    match &sites {
        Ok(sites) => {
            for (idx, site) in sites.iter().enumerate() {
                let once = ONCE.iter().filter(|_| is_full || idx + 1 == sites.len());
                for (name, test) in EVERYWHERE.iter().chain(once) {
                    let (site, test) = (site.named(name), *test);
                    trials.push(Trial::test(format!("kernel_{}::{name}", site.series), move || test(&site)));
                }
            }
        }
        Err(reason) => {
            for (name, _) in EVERYWHERE.iter().chain(&ONCE) {
                let reason = reason.clone();
                trials.push(Trial::ignorable_test(*name, move || Ok(Completion::ignored_with(reason))));
            }
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
