//! Measures how long runtimes take, in turns; prints records, one JSON object a line.
//!
//! ```text
//! runtime --rounds N --growth N --runtime NAME=FILE... --floor FILE --busybox FILE --pause NAME=FILE...
//!         [--traces N --podproof FILE]
//! ```
//!
//! In each round every runtime does every case once, and who begins changes from round to round: a machine that becomes
//! slower or faster meets all alike, and what is compared are the times of one round. Every container is checked: a runtime
//! that says that it has started one must have a process to show. What is traced comes last, when nothing is timed any more.
//! Needs root and cgroup v2, and a machine for itself:
//! `cargo xtask bench runtime` runs it in a VM and computes the medians.

mod bundle;
mod measure;
mod memory;
mod record;
mod subject;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::prctl;

use crate::bundle::Bundles;
use crate::measure::{Res, tell};
use crate::record::{Case, Record};
use crate::subject::{FLOOR, Runtime, floor};

/// The command line.
#[derive(Debug, Default)]
struct Options {
    rounds: u32,
    growth: u32,
    runtimes: Vec<Runtime>,
    floor: PathBuf,
    busybox: PathBuf,
    pauses: Vec<(String, PathBuf)>,
    traces: u32,
    podproof: PathBuf,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    measure::exit(options(&args).and_then(|options| measure(&options)))
}

fn options(args: &[String]) -> Res<Options> {
    let mut options = Options::default();
    for (arg, value) in measure::options(args)? {
        let named = || {
            let (name, path) =
                value.split_once('=').ok_or_else(|| format!("{arg} {value}: not NAME=FILE"))?;
            Ok::<_, String>((name.to_owned(), PathBuf::from(path)))
        };
        match arg {
            "--rounds" => options.rounds = value.parse()?,
            "--growth" => options.growth = value.parse()?,
            "--traces" => options.traces = value.parse()?,
            "--podproof" => options.podproof = value.into(),
            "--floor" => options.floor = value.into(),
            "--busybox" => options.busybox = value.into(),
            "--runtime" => options.runtimes.push(named().map(|(name, path)| Runtime::new(name, path))?),
            "--pause" => options.pauses.push(named()?),
            _ => return Err(format!("unknown option {arg:?}").into()),
        }
    }
    if options.rounds == 0 || options.runtimes.is_empty() || options.pauses.is_empty() {
        return Err("--rounds, --runtime and --pause are needed".into());
    }
    Ok(options)
}

fn measure(options: &Options) -> Res<()> {
    // The processes of containers become our children when their runtime ends, so that their end can be waited for.
    prctl::set_child_subreaper(true)?;
    let measure::Machine { kernel, cpu, n_cpus } = measure::machine()?;
    tell(&Record::Machine { kernel, cpu, n_cpus })?;
    let bundles = Bundles::make(&options.busybox, &options.pauses[0].1)?;
    for (name, path) in &options.pauses {
        tell(&memory::of(name, path)?)?;
    }
    rounds(options, &bundles)?;
    for runtime in &options.runtimes {
        if let Err(error) = growth(runtime, options.growth, &bundles) {
            let reason = error.to_string();
            tell(&Record::GrowthUnavailable { subject: runtime.name.clone(), reason })?;
        }
    }
    traces(options, &bundles)
}

fn rounds(options: &Options, bundles: &Bundles) -> Res<()> {
    let mut gone: BTreeSet<(Case, usize)> = BTreeSet::new();
    let n = options.runtimes.len();
    // The first round is not counted: what it reads and translates for the first time is there for all later ones.
    for round in 0..=options.rounds {
        eprintln!("bench: round {round} of {}", options.rounds);
        if round > 0 {
            let ns = floor(&options.floor)?;
            tell(&Record::Time { case: Case::RunTrue, subject: FLOOR.to_owned(), round, ns })?;
        } else {
            floor(&options.floor)?;
        }
        for turn in 0..n {
            let idx = (turn + round as usize) % n;
            let runtime = &options.runtimes[idx];
            for (case, result) in runtime.turn(bundles, |case| !gone.contains(&(case, idx))) {
                let subject = runtime.name.clone();
                match result {
                    Ok(ns) if round > 0 => tell(&Record::Time { case, subject, round, ns })?,
                    Ok(_) => {}
                    Err(error) => {
                        gone.insert((case, idx));
                        tell(&Record::Unavailable { case, subject, reason: error.to_string() })?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Traces runs, in turns as the rounds. A runtime that cannot be traced once is not asked again.
fn traces(options: &Options, bundles: &Bundles) -> Res<()> {
    let mut gone: BTreeSet<usize> = BTreeSet::new();
    let n = options.runtimes.len();
    for round in 1..=options.traces {
        eprintln!("bench: trace {round} of {}", options.traces);
        for turn in 0..n {
            let idx = (turn + round as usize) % n;
            if gone.contains(&idx) {
                continue;
            }
            let runtime = &options.runtimes[idx];
            let subject = runtime.name.clone();
            match runtime.traced(&options.podproof, &options.busybox, bundles) {
                Ok(events) => tell(&Record::Trace { subject, round, events })?,
                Err(error) => {
                    gone.insert(idx);
                    tell(&Record::TraceUnavailable { subject, reason: error.to_string() })?;
                }
            }
        }
    }
    Ok(())
}

/// Starts one container after the other, and ends them together.
fn growth(runtime: &Runtime, n: u32, bundles: &Bundles) -> Res<()> {
    // Not counted, as the first round.
    runtime.started("growth", &bundles.sleeping)?.0.end()?;
    let mut containers = Vec::new();
    let result = (0..n).try_for_each(|others| {
        let (container, ns) = runtime.started(&format!("growth-{others}"), &bundles.sleeping)?;
        containers.push(container);
        tell(&Record::Growth { subject: runtime.name.clone(), others, ns })
    });
    for container in containers {
        container.end()?;
    }
    result
}
