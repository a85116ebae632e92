//! Endurance test of the probes: what they leave in the kernel when they are loaded and dropped again and again, whether
//! they keep up with two CPUs that fork flat out, what the verifier and the compiler would let through unseen, what they ask of
//! the kernel, and whether bpftrace counts the same.
//!
//! Its children are this program, started again with `scene NAME`. One test at a time: each looks at all that this process
//! holds, or needs the machine for itself. Needs root, the initial pid namespace and a build with probes; what a machine
//! cannot show is ignored with the reason. Runs as it is inside of a VM when linked statically.
//!
//! `PODPROOF_TEST_FULL` makes the storm longer, `PODPROOF_TEST_SHORT` has fewer loads, links and wrong offsets, since each
//! costs some seconds in an emulated machine; `PODPROOF_TEST_BPFTRACE` is the program to count beside, and
//! `PODPROOF_TEST_BPFTRACE_LIBRARIES` the folder of its libraries.

mod bpftrace;
mod cgroup;
mod held;
mod helpers;
mod leaks;
mod object;
mod offsets;
mod scene;
mod storm;
mod sys;

use std::error::Error;
use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use podproof_ebpf::{LoadError, TraceOptions, Tracer};

/// Any error of a scene or of a comparison.
pub(crate) type Res<T> = Result<T, Box<dyn Error>>;

/// For things that happen at once on an idle machine; wide enough for an emulated one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

type Run = fn() -> Res<Completion>;

/// Tests that read the object file only.
const OF_THE_OBJECT: [(&str, Run); 6] = [
    ("object::every_atomic_addition_fetches", object::atomics),
    ("object::no_loops_of_the_compiler", object::calls),
    ("object::instructions_of_cpu_v3", object::cpu),
    ("object::license", object::license),
    ("helper::programs_only_observe", helpers::only_observe),
    ("helper::others_are_found", helpers::others_are_found),
];

/// Tests that load the probes.
const OF_THE_KERNEL: [(&str, Run); 6] = [
    ("offset::a_wrong_one_is_refused", offsets::refused),
    ("leak::links", leaks::links),
    ("leak::loads", leaks::loads),
    ("leak::killed_loader", leaks::killed),
    ("storm::two_cpus_fork_flat_out", storm::flat_out),
    ("peer::bpftrace_counts_the_same", bpftrace::same),
];

/// Lines for people, printed when all tests are done: a line in between would tear those of the tests.
static NOTES: Mutex<Vec<String>> = Mutex::new(vec![]);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, word, scene @ ..] = args.as_slice()
        && word == scene::WORD
    {
        return scene::play(scene);
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let of_the_object = OF_THE_OBJECT.map(|(name, run)| {
        Trial::ignorable_test(name, move || match object::bytes() {
            Some(_object) => run().map_err(|error| Failed::from(chain(&*error))),
            None => Ok(Completion::ignored_with(LoadError::NoProbes.to_string())),
        })
    });
    let of_the_kernel = OF_THE_KERNEL.map(|(name, run)| {
        Trial::ignorable_test(name, move || match missing() {
            Ok(None) => run().map_err(|error| Failed::from(chain(&*error))),
            Ok(Some(reason)) => Ok(Completion::ignored_with(reason)),
            Err(error) => Err(Failed::from(chain(&error))),
        })
    });
    let conclusion = libtest_mimic::run(&arguments, of_the_object.into_iter().chain(of_the_kernel).collect());
    for note in NOTES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("{note}");
    }
    conclusion.exit_code()
}

/// Why this machine has no tracer.
fn missing() -> Result<Option<String>, LoadError> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Some("needs root".into()));
    }
    // Such a ring is refused after the machine was looked at, and before anything is loaded.
    match Tracer::start(&TraceOptions { ring_bytes: 1, ..TraceOptions::default() }) {
        Err(error @ (LoadError::NoProbes | LoadError::PidNamespace { .. })) => Ok(Some(error.to_string())),
        Err(LoadError::RingSize { .. }) | Ok(_) => Ok(None),
        Err(error) => Err(error),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Whether less will do: what was asked for by `PODPROOF_TEST_SHORT`.
pub(crate) fn is_short() -> bool {
    std::env::var_os("PODPROOF_TEST_SHORT").is_some()
}

/// Prints a line at the end.
pub(crate) fn note(line: String) {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
}

/// Compares, and names what differs.
pub(crate) fn equal<T: PartialEq + Debug>(what: &str, seen: &T, expected: &T) -> Res<()> {
    if seen == expected {
        Ok(())
    } else {
        Err(format!("{what}: seen {seen:?}, expected {expected:?}").into())
    }
}

/// Fails with `what` unless it holds.
pub(crate) fn truth(what: &str, holds: bool) -> Res<()> {
    if holds { Ok(()) } else { Err(format!("does not hold: {what}").into()) }
}
