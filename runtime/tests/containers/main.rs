//! Containers on a real kernel: needs root and a cgroup v2 host, and says so where it has neither.
//!
//! The program in the containers is this test itself, executed with `--inside`; it has to be statically linked then, since
//! their root file system holds nothing else. `PODRT` names the binary under test where it is not the one that cargo built.

mod control;
mod exec;
mod exec_faults;
mod facts;
mod faults;
mod fixture;
mod garbage;
mod hooks;
mod hostile;
mod inside;
mod lifecycle;
mod mounts;
mod process;
mod resources;
mod seccomp;
mod terminal;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("--inside") => return inside::main(&args[2..]),
        Some("--hook") => return hooks::main(&args),
        Some("--race") => return hostile::race(args.get(2).map_or("", String::as_str)),
        Some("--hold-mounts") => return inside::hold_mounts(),
        Some("--exec") => return exec_faults::exec_with_fault(&args[2..]),
        Some("--create") => return faults::create_with_fault(&args[2..]),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // They compare the whole host before and after.
    arguments.test_threads = Some(1);
    let subjects = [
        lifecycle::CASES,
        hooks::CASES,
        seccomp::CASES,
        mounts::CASES,
        hostile::CASES,
        exec::CASES,
        exec_faults::CASES,
        terminal::CASES,
        process::CASES,
        resources::CASES,
        control::CASES,
        garbage::CASES,
        faults::CASES,
    ];
    let trials = subjects.into_iter().flatten();
    let trials = trials.map(|(name, case)| {
        Trial::ignorable_test(*name, move || match fixture::missing_prerequisite() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => case().map(|()| Completion::Completed),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// A test and its name.
type Case = (&'static str, fn() -> Result<(), Failed>);

/// Fails a test with a reason.
fn fail<T>(reason: impl Into<String>) -> Result<T, Failed> {
    Err(Failed::from(reason.into()))
}
