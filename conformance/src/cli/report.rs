//! `podproof report`: one table and one report from the records of several machines.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::outcome::OutcomeArgs;
use crate::report::records;

/// Reads records and renders them.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Files of records, as `podproof run --records` writes them.
    #[arg(required = true)]
    records: Vec<PathBuf>,
    #[command(flatten)]
    outcome: OutcomeArgs,
}

pub(super) fn run(args: &ReportArgs) -> Result<u8> {
    let mut runs = Vec::new();
    for path in &args.records {
        let text = fs::read(path).with_context(|| format!("read records {}", path.display()))?;
        runs.extend(records::runs(&String::from_utf8_lossy(&text)));
    }
    args.outcome.conclude(runs)
}
