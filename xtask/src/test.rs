//! `cargo xtask test`: all tests of the workspace, in named stages, and what they leave behind.
//!
//! The last line is `N passed, N failed, N skipped`, summed over all test programs.

mod browser;
mod guest;
mod host;
mod leftovers;
mod pidfd;
mod tally;

use std::fs::{self, File};
use std::io::{self, Seek as _};
use std::path::PathBuf;
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::build::{self, Artifacts};
use crate::cmd::Cmd;
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
    run: Run,
}

enum Run {
    /// By itself.
    Alone(fn(&Context) -> Result<Tally>),
    /// Beside the stages that come after it, of which many take one processor only. Its output is shown at its end.
    Beside { command: fn(&Context) -> Result<Cmd>, end: fn(&Context, bool) -> Result<Tally> },
}

const STAGES: [Stage; 13] = [
    Stage { name: "fuzzing", run: Run::Beside { command: fuzz::command, end: fuzz::tally } },
    Stage { name: "unit and host tests", run: Run::Alone(host::run) },
    Stage { name: "probes and podrt in VMs", run: Run::Alone(guest::programs) },
    Stage { name: "mutants", run: Run::Beside { command: guest::mutants, end: guest::mutants_tally } },
    Stage { name: "podman and containerd", run: Run::Alone(guest::engines) },
    Stage { name: "exporter under systemd", run: Run::Alone(guest::service) },
    Stage { name: "examples", run: Run::Alone(guest::examples) },
    Stage { name: "alerts of the exporter", run: Run::Alone(guest::alerts) },
    Stage { name: "conformance of podrt", run: Run::Alone(guest::conformance) },
    Stage { name: "conformance of podrt again", run: Run::Alone(guest::conformance_again) },
    Stage { name: "report in a browser", run: Run::Alone(browser::report) },
    Stage { name: "exporter in a browser", run: Run::Alone(browser::landing) },
    Stage { name: "crash sweep of podrt", run: Run::Alone(guest::sweep) },
];

/// A stage that runs beside others.
struct Started {
    stage: &'static Stage,
    end: fn(&Context, bool) -> Result<Tally>,
    since: Instant,
    child: Child,
    output: File,
}

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
    let mut beside = Vec::new();
    for stage in STAGES.iter().filter(|stage| is_wanted(stage)) {
        println!("==> {}", stage.name);
        let since = Instant::now();
        let tally = match stage.run {
            Run::Alone(run) => run(&context),
            Run::Beside { command, end } => match command(&context).and_then(Cmd::spawn) {
                Ok((child, output)) => {
                    beside.push(Started { stage, end, since, child, output });
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        done.push(Done { name: stage.name, wall: since.elapsed(), tally: counted(stage, tally) });
    }
    for started in beside {
        let (name, since) = (started.stage.name, started.since);
        println!("==> {name}, which ran beside the others");
        let tally = counted(started.stage, started.finish(&context));
        done.push(Done { name, wall: since.elapsed(), tally });
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

/// A stage that could not run has failed.
fn counted(stage: &Stage, tally: Result<Tally>) -> Tally {
    tally.unwrap_or_else(|err| {
        eprintln!("error: {}: {err:#}", stage.name);
        Tally::check(stage.name, false)
    })
}

impl Started {
    /// Waits for its end and shows what it has said.
    fn finish(mut self, context: &Context) -> Result<Tally> {
        let status = self.child.wait().context("cannot wait for it")?;
        self.output.rewind().context("cannot read what it has said")?;
        io::copy(&mut self.output, &mut io::stdout()).context("cannot show what it has said")?;
        (self.end)(context, status.success())
    }
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
    for (name, reason) in &total.failures {
        println!("failed: {name}{}{reason}", if reason.is_empty() { "" } else { ": " });
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
