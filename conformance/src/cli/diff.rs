//! `podproof diff`: what changed between two reports.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::list::ListFormat;
use crate::report::diff::Diff;
use crate::report::{exit, matrix};

/// Compares two reports, run by run.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// `report.json` of before.
    old: PathBuf,
    /// `report.json` of after.
    new: PathBuf,
    /// How the changes are told.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: ListFormat,
}

pub(super) fn run(args: &DiffArgs) -> Result<u8> {
    let diff = Diff::of(&matrix::read(&args.old)?, &matrix::read(&args.new)?);
    match args.format {
        ListFormat::Text => print!("{}", diff.render()),
        ListFormat::Json => println!("{}", serde_json::to_string_pretty(&diff)?),
    }
    Ok(if diff.is_worse() { exit::FAILED } else { exit::PASSED })
}
