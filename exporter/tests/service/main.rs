//! The exporter as a service of systemd, by the units that are shipped, and by the readme.
//!
//! It changes the whole machine, so it runs in a VM only: `cargo xtask test --full` boots an image with systemd as PID 1 and has the
//! exporter where the unit wants it; `PODPROOF_TEST_SYSTEMD` says so.

#[path = "../support/expect.rs"]
mod expect;
mod readme;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "there are no pods, and other tests look at the names of all families"
)]
mod support;
mod unit;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use expect::expect;
use support::Res;

/// A test and its name.
type Case = (&'static str, fn() -> Res<()>);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // There is one unit.
    arguments.test_threads = Some(1);
    let is_here = std::env::var_os("PODPROOF_TEST_SYSTEMD").is_some();
    let trials = unit::CASES.iter().chain(readme::CASES).map(|(name, case)| {
        Trial::ignorable_test(*name, move || {
            if !is_here {
                return Ok(Completion::ignored_with("runs in a VM with systemd: cargo xtask test --full"));
            }
            case().map(|()| Completion::Completed).map_err(Failed::from)
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
