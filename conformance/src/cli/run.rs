//! `podproof run`: judges runtimes on the machine at hand.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use libtest_mimic::Arguments;

use super::stage::{Stage, StageArgs};
use crate::adapter::oci::OciRuntime;
use crate::catalog::Adapter;
use crate::checks::{self, Check};
use crate::report::model::RunReport;
use crate::report::{exit, table};
use crate::suite;

/// Judges runtimes.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// An OCI runtime, by name (in PATH) or path; may be given several times.
    #[arg(long, value_name = "NAME|PATH", required = true)]
    runtime: Vec<String>,
    /// What drives the runtimes: their own command line (oci), or the pod layer of podrt (podrt); may be given several times.
    /// Without it oci, and for podrt both, each in a run of its own.
    #[arg(long, value_enum, value_name = "ADAPTER")]
    adapter: Vec<Adapter>,
    /// Only checks whose id or name contains one of these (`REAP`, `NS-01`, `hostname`).
    filter: Vec<String>,
    #[command(flatten)]
    stage: StageArgs,
    /// Write `report.json` into this directory.
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,
    /// Options for the test runner, such as `--test-threads 1`.
    #[arg(last = true)]
    libtest: Vec<String>,
}

pub(super) fn run(args: &RunArgs) -> Result<u8> {
    let checks = checks::matching(&args.filter);
    if checks.is_empty() {
        bail!("no check matches {}; `podproof list` shows them all", args.filter.join(" "));
    }
    let libtest = arguments(&args.libtest)?;
    let stage = Stage::set(&args.stage)?;
    let runtimes = args.runtime.iter().map(|given| stage.runtime(given)).collect::<Result<Vec<_>>>()?;
    let mut runs = Vec::new();
    for runtime in runtimes {
        for (adapter, checks) in rounds(args, &runtime, &checks) {
            runs.push(judge_one(&stage, (runtime.clone(), adapter), &checks, &libtest)?);
        }
    }
    if args.stage.records.is_none() {
        print!("{}", table::render(&runs));
    }
    if let Some(dir) = &args.report_dir {
        super::report::write(dir, &runs)?;
    }
    Ok(exit::status(&runs))
}

/// By what a runtime is driven, with the checks of each run: those that it can drive. What no run can drive and was asked for by
/// its id is in the first one, which skips it and says why.
fn rounds(args: &RunArgs, runtime: &OciRuntime, checks: &[Check]) -> Vec<(Adapter, Vec<Check>)> {
    let adapters = match (args.adapter.as_slice(), runtime.name.as_str()) {
        ([], "podrt") => &[Adapter::Oci, Adapter::Podrt],
        ([], _) => [Adapter::Oci].as_slice(),
        (given, _) => given,
    };
    let is_asked = |check: &Check| {
        args.filter.iter().any(|filter| filter.eq_ignore_ascii_case(check.requirement.id))
            && !adapters.iter().any(|adapter| check.requirement.has(*adapter))
    };
    let of = |(number, adapter): (usize, &Adapter)| {
        let is_in = |check: &&Check| check.requirement.has(*adapter) || (number == 0 && is_asked(check));
        (*adapter, checks.iter().filter(is_in).copied().collect::<Vec<_>>())
    };
    adapters.iter().enumerate().map(of).filter(|(_, checks)| !checks.is_empty()).collect()
}

fn judge_one(
    stage: &Stage,
    (runtime, adapter): (OciRuntime, Adapter),
    checks: &[Check],
    libtest: &Arguments,
) -> Result<RunReport> {
    println!("\n{} {} ({}), adapter {adapter}", runtime.name, runtime.version, runtime.path.display());
    stage.play((runtime, adapter), |run| suite::run(run, checks, libtest, &stage.recorder))
}

fn arguments(options: &[String]) -> Result<Arguments> {
    let all = std::iter::once("podproof".to_owned()).chain(options.iter().cloned());
    <Arguments as clap::Parser>::try_parse_from(all).context("options after -- are for the test runner")
}
