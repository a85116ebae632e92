//! Truth test of the probes: a scenario program prints what it does and what it is (numbers, namespaces, cgroups,
//! credentials, results), and the event stream is compared with that, field by field.
//!
//! The scenario program is this binary, started again with `scenario NAME` in a scope of its own. Needs root, the
//! initial pid namespace and a build with probes; what a machine cannot show is ignored with the reason. Runs as it is
//! inside of a VM when linked statically.

mod attach;
mod call_counts;
mod cgroup_state;
mod cgroups;
mod clone_flags;
mod count;
mod counters;
mod deaths;
mod files;
mod inject;
mod losses;
mod mount_calls;
mod namespaces;
mod nested;
mod observe;
mod oom;
mod orphans;
mod ptraces;
mod rare;
mod refused;
mod report;
mod roots;
mod scopes;
mod signals;
mod sys;
mod tasks;
mod traps;
mod wait_calls;
mod waits;
mod zombie_counts;
mod zombies;

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use podproof_ebpf::{LoadError, TraceOptions, Tracer};

use crate::observe::Case;

/// Any error of a scenario or of a comparison.
pub(crate) type Res<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, word, name] = args.as_slice()
        && word == "scenario"
    {
        return observe::play(name, &[cases(), scenes()].concat());
    }
    if let [_, word, dir] = args.as_slice()
        && word == inject::TARGET
    {
        return inject::target(dir.as_ref());
    }
    let arguments = Arguments::from_args();
    let tracer: Arc<OnceLock<Result<Tracer, Refusal>>> = Arc::default();
    // Where a program is attached to a function, or leaves it, the kernel skips the exit programs of the calls that are under
    // way, those of others too (bpf_tramp_image_put()): a test with a tracer of its own runs alone.
    let attaching: Arc<RwLock<()>> = Arc::default();
    let mut trials = vec![];
    for case in cases() {
        let attaching = Arc::clone(&attaching);
        trials.push(trial(case.name, Arc::clone(&tracer), move |tracer| {
            let _beside = attaching.read().unwrap_or_else(PoisonError::into_inner);
            observe::judge(tracer, &case)
        }));
    }
    let direct = [
        &scopes::DIRECT[..],
        &losses::DIRECT,
        &attach::DIRECT,
        &traps::DIRECT,
        &counters::DIRECT,
        &zombie_counts::DIRECT,
        &call_counts::DIRECT,
    ];
    for (name, run) in direct.concat() {
        let attaching = Arc::clone(&attaching);
        trials.push(trial(name, Arc::clone(&tracer), move |tracer| {
            let _alone = attaching.write().unwrap_or_else(PoisonError::into_inner);
            run(tracer)
        }));
    }
    trials.extend(inject::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn cases() -> Vec<Case> {
    [
        tasks::CASES,
        count::CASES,
        clone_flags::CASES,
        waits::CASES,
        wait_calls::CASES,
        zombies::CASES,
        deaths::CASES,
        orphans::CASES,
        ptraces::CASES,
        namespaces::CASES,
        refused::CASES,
        nested::CASES,
        signals::CASES,
        traps::CASES,
        files::CASES,
        mount_calls::CASES,
        roots::CASES,
        cgroups::CASES,
        cgroup_state::CASES,
        oom::CASES,
    ]
    .concat()
}

/// Scenarios of tests that are more than one in one scope.
fn scenes() -> Vec<Case> {
    [
        scopes::SCENES,
        losses::SCENES,
        attach::SCENES,
        traps::SCENES,
        counters::SCENES,
        zombie_counts::SCENES,
        call_counts::SCENES,
    ]
    .concat()
}

/// Why there is no tracer: a machine that cannot have one, or an error.
enum Refusal {
    Ignore(String),
    Fail(String),
}

fn start() -> Result<Tracer, Refusal> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Refusal::Ignore("needs root".into()));
    }
    Tracer::start(&TraceOptions::default()).map_err(|error| match error {
        LoadError::NoProbes | LoadError::PidNamespace { .. } => Refusal::Ignore(error.to_string()),
        error => Refusal::Fail(chain(&error)),
    })
}

pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn trial(
    name: &'static str,
    tracer: Arc<OnceLock<Result<Tracer, Refusal>>>,
    run: impl FnOnce(&Tracer) -> Res<Completion> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match tracer.get_or_init(start) {
        Ok(tracer) => run(tracer).map_err(|error| Failed::from(chain(&*error))),
        Err(Refusal::Ignore(reason)) => Ok(Completion::ignored_with(reason.clone())),
        Err(Refusal::Fail(reason)) => Err(Failed::from(reason.clone())),
    })
}
