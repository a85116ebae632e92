//! `podproof report`: one table and one report from the records of several machines.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::report::model::{Report, RunReport};
use crate::report::{exit, records, table};

/// Reads records and renders them.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Files of records, as `podproof run --records` writes them.
    #[arg(required = true)]
    records: Vec<PathBuf>,
    /// Write `report.json` into this directory.
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,
}

pub(super) fn run(args: &ReportArgs) -> Result<u8> {
    let mut runs = Vec::new();
    for path in &args.records {
        let text = fs::read(path).with_context(|| format!("read records {}", path.display()))?;
        runs.extend(records::runs(&String::from_utf8_lossy(&text)));
    }
    print!("{}", table::render(&runs));
    if let Some(dir) = &args.report_dir {
        write(dir, &runs)?;
    }
    Ok(exit::status(&runs))
}

/// Writes the files of a report directory.
pub(super) fn write(dir: &Path, runs: &[RunReport]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("make the report directory {}", dir.display()))?;
    let path = dir.join("report.json");
    let text = serde_json::to_vec_pretty(&Report::new(runs.to_vec())).context("write the report as JSON")?;
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    println!("report: {}", path.display());
    Ok(())
}
