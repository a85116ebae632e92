//! `cargo xtask test`: all tests of the workspace, in named stages, and what they leave behind.
//!
//! The last line is `N passed, N failed, N skipped`, summed over all test programs.

mod browser;
mod guest;
mod host;
mod leftovers;
mod pidfd;
mod tally;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::build::{self, Artifacts};
use crate::fuzz;
use crate::setup::{self, Tool, Toolbox};
use crate::workspace;
use leftovers::Snapshot;
pub(crate) use tally::Tally;

/// What the stages work with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) tools: Toolbox,
    pub(crate) built: Artifacts,
    /// The temporary folder of the tests; it is empty again at the end.
    pub(crate) tmp: PathBuf,
    /// Whole matrices and repeats as well.
    pub(crate) is_full: bool,
}

struct Stage {
    name: &'static str,
    run: fn(&Context) -> Result<Tally>,
}

const STAGES: [Stage; 9] = [
    Stage { name: "unit and host tests", run: host::run },
    Stage { name: "fuzzing", run: fuzz::stage },
    Stage { name: "probes and podrt in VMs", run: guest::programs },
    Stage { name: "podman and containerd", run: guest::engines },
    Stage { name: "examples", run: guest::examples },
    Stage { name: "conformance of podrt", run: guest::conformance },
    Stage { name: "report in a browser", run: browser::run },
    Stage { name: "mutants", run: guest::mutants },
    Stage { name: "crash sweep of podrt", run: guest::sweep },
];

struct Done {
    name: &'static str,
    wall: Duration,
    tally: Tally,
}

/// Runs every stage that is wanted, all if none is named, also after one has failed.
pub(crate) fn run(is_full: bool, wanted: &[String]) -> Result<ExitCode> {
    let is_wanted = |stage: &Stage| wanted.is_empty() || wanted.iter().any(|part| stage.name.contains(part));
    for part in wanted {
        let names = STAGES.map(|stage| stage.name);
        ensure!(
            names.iter().any(|name| name.contains(part)),
            "no stage {part:?}; there are: {}",
            names.join(", ")
        );
    }
    let mut done = Vec::new();
    let started = Instant::now();
    let tools = setup::ensure(&Tool::ALL)?;
    done.push(Done { name: "set-up", wall: started.elapsed(), tally: Tally::default() });
    let started = Instant::now();
    let built = build::all(&tools)?;
    done.push(Done { name: "build", wall: started.elapsed(), tally: Tally::default() });

    let tmp = workspace::target().join("tmp");
    fs::create_dir_all(&tmp).with_context(|| format!("cannot create {}", tmp.display()))?;
    let context = Context { tools, built, tmp, is_full };
    leftovers::adopt_orphans()?;
    let before = Snapshot::take(&context.tmp)?;
    for stage in STAGES.iter().filter(|stage| is_wanted(stage)) {
        println!("==> {}", stage.name);
        let started = Instant::now();
        let tally = (stage.run)(&context).unwrap_or_else(|err| {
            eprintln!("error: {}: {err:#}", stage.name);
            Tally::check(stage.name, false)
        });
        done.push(Done { name: stage.name, wall: started.elapsed(), tally });
    }
    let started = Instant::now();
    let mut left = leftovers::leftover_processes()?;
    left.extend(before.new_in(&Snapshot::take(&context.tmp)?));
    for what in &left {
        eprintln!("error: left behind: {what}");
    }
    let tally = Tally::check("nothing is left behind", left.is_empty());
    done.push(Done { name: "leftovers", wall: started.elapsed(), tally });
    Ok(report(&done))
}

fn report(done: &[Done]) -> ExitCode {
    let mut total = Tally::default();
    println!("\n{:<24} {:>9} {:>7} {:>7} {:>8}", "stage", "wall", "passed", "failed", "skipped");
    for Done { name, wall, tally } in done {
        let wall = format!("{:.1} s", wall.as_secs_f64());
        println!("{name:<24} {wall:>9} {:>7} {:>7} {:>8}", tally.passed, tally.failed, tally.skipped);
        total.add(tally);
    }
    for (name, reason) in &total.skips {
        println!("skipped: {name}: {reason}");
    }
    for name in &total.failures {
        println!("failed: {name}");
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
