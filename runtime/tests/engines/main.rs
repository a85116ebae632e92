//! podman and containerd with podrt as their runtime: what people do with them, and what is left afterwards.
//!
//! They change the whole machine, so they run in a VM only: `cargo xtask test` boots images that have them and names the
//! one in `PODPROOF_TEST_ENGINE`. `PODRT` names the runtime, so that the tests can be tried with another one.

mod containerd;
mod machine;
mod podman;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They look for what is left on the whole machine.
    arguments.test_threads = Some(1);
    let engine = std::env::var("PODPROOF_TEST_ENGINE").unwrap_or_default();
    let trials = [("podman", podman::CASES), ("containerd", containerd::CASES)].into_iter().flat_map(
        |(name, cases)| {
            let is_here = engine == name;
            // A machine has one engine; the other's tests are skipped only where there is none at all.
            let cases = if is_here || engine.is_empty() { cases } else { &[] };
            cases.iter().map(move |(case, test)| {
                Trial::ignorable_test(format!("{name}::{case}"), move || {
                    if !is_here {
                        return Ok(Completion::ignored_with(
                            "runs in a VM with an image of the engine: cargo xtask test",
                        ));
                    }
                    test().map(|()| Completion::Completed)
                })
            })
        },
    );
    let trials = trials.collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test and its name.
type Case = (&'static str, fn() -> Result<(), Failed>);

/// Fails a test with a reason.
fn fail<T>(reason: impl Into<String>) -> Result<T, Failed> {
    Err(Failed::from(reason.into()))
}
