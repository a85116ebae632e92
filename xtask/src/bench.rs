//! `cargo xtask bench NAME --json FILE`: measurements beside other tools, as medians and ratios of one run.
//!
//! FILE keeps the figures; a report and a plot are made from it and put beside it, with the endings `.md` and `.svg`.

mod plot;
mod probes;
#[path = "../../ebpf/benches/probes/record.rs"]
mod record;
mod report;
mod rows;
mod statistics;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// What the probes cost the machine that they watch, beside bpftrace, execsnoop and exitsnoop; takes some minutes
    Probes(probes::ProbesArgs),
}

/// Measures and writes the files.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    match &args.bench {
        Bench::Probes(args) => probes::run(args),
    }
}
