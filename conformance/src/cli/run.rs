//! `podproof run`: judges runtimes on the machine at hand.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use libtest_mimic::Arguments;

use super::stage::{Stage, StageArgs};
use crate::adapter::oci::OciRuntime;
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
    let runs = runtimes
        .into_iter()
        .map(|runtime| judge_one(&stage, runtime, &checks, &libtest))
        .collect::<Result<Vec<_>>>()?;
    if args.stage.records.is_none() {
        print!("{}", table::render(&runs));
    }
    if let Some(dir) = &args.report_dir {
        super::report::write(dir, &runs)?;
    }
    Ok(exit::status(&runs))
}

fn judge_one(stage: &Stage, runtime: OciRuntime, checks: &[Check], libtest: &Arguments) -> Result<RunReport> {
    println!("\n{} {} ({})", runtime.name, runtime.version, runtime.path.display());
    stage.play(runtime, |run| suite::run(run, checks, libtest, &stage.recorder))
}

fn arguments(options: &[String]) -> Result<Arguments> {
    let all = std::iter::once("podproof".to_owned()).chain(options.iter().cloned());
    <Arguments as clap::Parser>::try_parse_from(all).context("options after -- are for the test runner")
}
