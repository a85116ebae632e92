//! Measures how long pods take to start, to end and to restart a container, and what an idle one holds; prints records, one
//! JSON object a line.
//!
//! ```text
//! pod --rounds N --growth N --restarts N --podrt FILE --crun FILE --podman FILE --busybox FILE --pause FILE
//! ```
//!
//! In each round every subject starts its pod and ends it, and who begins changes from round to round: a machine that becomes
//! slower or faster meets all alike, and what is compared are the times of one round. Every pod is checked: who says that it
//! runs must have three processes to show, and none when it has ended.
//! Needs root and cgroup v2, and a machine for itself: `cargo xtask bench pod` runs it in a VM and computes the medians.

mod crash;
mod crun;
mod keepers;
#[path = "../../../benches/runtime/measure.rs"]
mod measure;
mod node;
mod podman;
mod podrt;
mod record;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::crun::Crun;
use crate::measure::{Res, tell};
use crate::podman::Podman;
use crate::podrt::Podrt;
use crate::record::{Case, Record};

/// Who makes pods.
trait Subject {
    /// Its name in the records.
    fn name(&self) -> &'static str;
    /// Starts a sandbox and two containers; how long the commands took.
    fn start(&self) -> Res<u64>;
    /// Ends and removes them; how long that took.
    fn stop(&self) -> Res<u64>;
}

/// The command line.
#[derive(Debug, Default)]
struct Options {
    rounds: u32,
    growth: u32,
    restarts: usize,
    podrt: PathBuf,
    crun: PathBuf,
    podman: PathBuf,
    busybox: PathBuf,
    pause: PathBuf,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args == [crash::OPTION] {
        return crash::program();
    }
    measure::exit(options(&args).and_then(|options| measure(&options)))
}

fn options(args: &[String]) -> Res<Options> {
    let mut options = Options::default();
    for (arg, value) in measure::options(args)? {
        match arg {
            "--rounds" => options.rounds = value.parse()?,
            "--growth" => options.growth = value.parse()?,
            "--restarts" => options.restarts = value.parse()?,
            "--podrt" => options.podrt = value.into(),
            "--crun" => options.crun = value.into(),
            "--podman" => options.podman = value.into(),
            "--busybox" => options.busybox = value.into(),
            "--pause" => options.pause = value.into(),
            _ => return Err(format!("unknown option {arg:?}").into()),
        }
    }
    let programs = [&options.podrt, &options.crun, &options.podman, &options.busybox, &options.pause];
    if options.rounds == 0 || programs.iter().any(|path| path.as_os_str().is_empty()) {
        return Err("--rounds, --podrt, --crun, --podman, --busybox and --pause are needed".into());
    }
    Ok(options)
}

fn measure(options: &Options) -> Res<()> {
    let measure::Machine { kernel, cpu, n_cpus } = measure::machine()?;
    tell(&Record::Machine { kernel, cpu, n_cpus })?;
    let image = node::make_image(&options.pause)?;
    let podrt = Podrt::new(&options.podrt, &options.pause, &image)?;
    let crun = Crun::new(&options.crun, &podrt, &image)?;
    let podman = Podman::new(&options.podman, &options.crun, &options.busybox, &image)?;
    // Before others have filled the caches of the machine with theirs.
    restarts(&podrt, options.restarts)?;
    let idle = rounds(options.rounds, &[&podrt, &crun, &podman])?;
    if !idle.contains(podman.name()) {
        podman.start()?;
        keepers::tell_idle(1)?;
        podman.stop()?;
        node::expect_programs(0)?;
    }
    podrt.start()?;
    keepers::tell_idle(1)?;
    podrt.stop()?;
    growth(&podrt, options.growth)
}

/// All rounds; the names of those who cannot do it.
fn rounds(n_rounds: u32, subjects: &[&dyn Subject]) -> Res<BTreeSet<&'static str>> {
    let mut gone = BTreeSet::new();
    let n = subjects.len();
    // The first round is not counted: what it reads and translates for the first time is there for all later ones.
    for round in 0..=n_rounds {
        eprintln!("bench: round {round} of {n_rounds}");
        for turn in 0..n {
            let subject = subjects[(turn + round as usize) % n];
            let name = subject.name();
            if gone.contains(name) {
                continue;
            }
            match in_turn(subject) {
                Ok(times) => {
                    for (case, ns) in times.into_iter().filter(|_| round > 0) {
                        tell(&Record::Time { case, subject: name.to_owned(), round, ns })?;
                    }
                }
                Err(error) => {
                    gone.insert(name);
                    eprintln!("bench: without {name}: {error}");
                    tell(&Record::Unavailable { subject: name.to_owned(), reason: error.to_string() })?;
                }
            }
        }
    }
    Ok(gone)
}

fn in_turn(subject: &dyn Subject) -> Res<[(Case, u64); 2]> {
    let start = subject.start()?;
    node::expect_programs(3)?;
    let stop = subject.stop()?;
    node::expect_programs(0)?;
    Ok([(Case::Start, start), (Case::Stop, stop)])
}

/// Starts one pod after the other, looks at their memory, and ends them together.
fn growth(podrt: &Podrt, n: u32) -> Res<()> {
    eprintln!("bench: {n} pods");
    let name = |others| format!("growth-{others}");
    for others in 0..n {
        let ns = podrt.start_pod(&name(others))?;
        tell(&Record::Growth { others, ns })?;
    }
    node::expect_programs(3 * n as usize)?;
    keepers::tell_idle(n)?;
    for others in 0..n {
        podrt.remove_pod(&name(others))?;
    }
    node::expect_programs(0)
}

/// Lets a container crash again and again.
fn restarts(podrt: &Podrt, n: usize) -> Res<()> {
    eprintln!("bench: {n} restarts");
    let tracing = crash::Tracing::start()?;
    podrt.start_crashing()?;
    let times = tracing.restarts(n)?;
    podrt.remove_pod(podrt::CRASHING)?;
    times.into_iter().try_for_each(|ns| tell(&Record::Restart { ns }))
}
