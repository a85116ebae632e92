//! `podproof run`: judges runtimes on the machine at hand.

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser};

use super::choice::ChoiceArgs;
use super::outcome::OutcomeArgs;
use super::stage::{Stage, StageArgs};
use crate::adapter::oci::OciRuntime;
use crate::catalog::Adapter;
use crate::checks::Check;
use crate::report::exit;
use crate::report::live::{Format, Live};
use crate::report::model::RunReport;
use crate::report::words::quoted;
use crate::suite::{self, Plan};

/// What another sandbox program is judged with, where nothing is chosen.
const SANDBOX_AREAS: [&str; 2] = ["REAP-", "SIG-"];

/// Judges runtimes.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// An OCI runtime, by name (in PATH) or path; may be given several times.
    #[arg(long, value_name = "NAME|PATH", required_unless_present = "list")]
    runtime: Vec<String>,
    /// What drives the runtimes: their own command line (oci), or the pod layer of podrt (podrt); may be given several times.
    /// Without it oci, and for podrt both, each in a run of its own.
    #[arg(long, value_enum, value_name = "ADAPTER")]
    adapter: Vec<Adapter>,
    #[command(flatten)]
    runner: RunnerArgs,
    #[command(flatten)]
    stage: StageArgs,
    #[command(flatten)]
    outcome: OutcomeArgs,
    /// The command that judges each runtime again, in the order of the runtimes; a report names it with the id of a check.
    #[arg(long, value_name = "COMMAND", hide = true)]
    again: Vec<String>,
    /// The same filters and options as before `--`, for those who are used to `cargo test -- --test-threads 1`.
    #[arg(last = true, value_name = "OPTIONS")]
    last: Vec<String>,
}

/// What `cargo test` takes too.
#[derive(Debug, Clone, Args)]
struct RunnerArgs {
    #[command(flatten)]
    choice: ChoiceArgs,
    /// Checks that run at the same time; by default one for each processor.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    test_threads: Option<u16>,
    /// Play every check so often, and name each whose verdict ever changes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// Only list the checks that would run.
    #[arg(long)]
    list: bool,
}

/// The options after `--`.
#[derive(Debug, Parser)]
#[command(name = "podproof run", no_binary_name = true)]
struct Last {
    #[command(flatten)]
    runner: RunnerArgs,
    /// How verdicts are told on standard output.
    #[arg(long)]
    format: Option<Format>,
    /// The same as `--format terse`.
    #[arg(long, short)]
    quiet: bool,
}

impl RunArgs {
    /// With what comes after `--`.
    fn resolved(&self) -> Result<(RunnerArgs, OutcomeArgs)> {
        let last =
            Last::try_parse_from(&self.last).context("options after -- are filters and runner options")?;
        let runner = RunnerArgs {
            choice: self.runner.choice.clone().and(last.runner.choice),
            test_threads: last.runner.test_threads.or(self.runner.test_threads),
            repeat: last.runner.repeat.or(self.runner.repeat),
            list: last.runner.list || self.runner.list,
        };
        let mut outcome = self.outcome.clone();
        let quiet = last.quiet.then_some(Format::Terse);
        outcome.format = last.format.or(quiet).unwrap_or(outcome.format);
        Ok((runner, outcome))
    }

    /// By what a runtime is driven. The pod layer adds nothing to a verdict on another sandbox program.
    fn adapters(&self, runtime: &OciRuntime) -> Vec<Adapter> {
        let is_driven_twice = runtime.name == "podrt" && !self.stage.judges_sandbox();
        match (self.adapter.as_slice(), is_driven_twice) {
            ([], true) => vec![Adapter::Oci, Adapter::Podrt],
            ([], false) => vec![Adapter::Oci],
            (given, _) => given.to_vec(),
        }
    }

    /// The command that judges this runtime again, without the checks.
    fn again(&self, index: usize) -> String {
        if let Some(again) = self.again.get(index) {
            return again.clone();
        }
        let mut words = vec!["podproof".to_owned(), "run".to_owned(), "--runtime".to_owned()];
        words.push(self.runtime[index].clone());
        words.extend(self.stage.words());
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

pub(super) fn run(args: &RunArgs) -> Result<u8> {
    let (mut runner, outcome) = args.resolved()?;
    if args.stage.judges_sandbox() {
        ensure!(
            !args.adapter.contains(&Adapter::Podrt) || args.stage.sandbox_arguments().is_empty(),
            "--adapter podrt: the pod layer calls a sandbox program without arguments, and this one needs some"
        );
        runner.choice = runner.choice.or_only(&SANDBOX_AREAS);
    }
    let checks = runner.choice.checks()?;
    if runner.list {
        for check in &checks {
            println!("{}: test", check.test_name());
        }
        return Ok(exit::PASSED);
    }
    let default = Plan::default();
    let plan = Plan {
        threads: runner.test_threads.map_or(default.threads, usize::from),
        rounds: runner.repeat.unwrap_or(default.rounds),
    };
    let stage = Stage::set(&args.stage)?;
    let runtimes = args.runtime.iter().map(|given| stage.runtime(given)).collect::<Result<Vec<_>>>()?;
    let live = Live::stdout(outcome.format, outcome.is_coloured());
    let mut runs = Vec::new();
    for (index, runtime) in runtimes.into_iter().enumerate() {
        for (adapter, checks) in rounds(&args.adapters(&runtime), &runner.choice, &checks) {
            let subject = (runtime.clone(), adapter);
            runs.push(judge_one(&stage, subject, args.again(index), &checks, plan, &live)?);
        }
    }
    if args.stage.records.is_some() {
        return Ok(exit::status(&runs, &[]));
    }
    outcome.conclude(runs)
}

/// The checks of each run: those that its adapter can drive. What no run can drive and was asked for by
/// its id is in the first one, which skips it and says why.
fn rounds(adapters: &[Adapter], choice: &ChoiceArgs, checks: &[Check]) -> Vec<(Adapter, Vec<Check>)> {
    let is_asked = |check: &Check| {
        choice.names(check.requirement.id) && !adapters.iter().any(|adapter| check.requirement.has(*adapter))
    };
    let of = |(number, adapter): (usize, &Adapter)| {
        let is_in = |check: &&Check| check.requirement.has(*adapter) || (number == 0 && is_asked(check));
        (*adapter, checks.iter().filter(is_in).copied().collect::<Vec<_>>())
    };
    adapters.iter().enumerate().map(of).filter(|(_, checks)| !checks.is_empty()).collect()
}

fn judge_one(
    stage: &Stage,
    subject: (OciRuntime, Adapter),
    again: String,
    checks: &[Check],
    plan: Plan,
    live: &Live,
) -> Result<RunReport> {
    stage.play(subject, Some(again), |run, head| {
        live.begin(head, checks.len() * usize::try_from(plan.rounds).unwrap_or(1));
        suite::run(run, checks, plan, &stage.recorder, live)
    })
}
