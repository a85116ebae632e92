//! Pods on a real kernel: needs root, a cgroup v2 host, overlayfs and a static busybox, and says so where one is missing.
//!
//! `PODRT_POD` names the binary under test where it is not the one that cargo built; `PODRT_PAUSE` the sandbox's program.

mod crash;
mod failure;
mod fixture;
mod form;
mod image;
mod life;
mod links;
mod network;
mod order;
mod output;
mod restart;
mod security;
mod stop;
mod volumes;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// With it, this program tells who it is: a container that has a copy of it is asked.
const EUID: &str = "--effective-uid";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(EUID) {
        println!("{}", nix::unistd::geteuid());
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    // They compare the whole host before and after.
    arguments.test_threads = Some(1);
    let subjects = [
        life::CASES,
        order::CASES,
        restart::CASES,
        stop::CASES,
        output::CASES,
        form::CASES,
        volumes::CASES,
        links::CASES,
        security::CASES,
        image::CASES,
        network::CASES,
        failure::CASES,
        crash::CASES,
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

/// Fails unless the two are the same.
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Result<(), Failed> {
    if found == wanted { Ok(()) } else { fail(format!("{what}: found {found:?}, wanted {wanted:?}")) }
}
