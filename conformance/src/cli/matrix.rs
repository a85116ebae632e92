//! `podproof matrix`: merges reports into the matrix of requirements by runtime and kernel.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::report::matrix::{self, Matrix};
use crate::report::table;

/// Merges reports.
#[derive(Debug, Args)]
pub(super) struct MatrixArgs {
    /// Files `report.json`, or matrices that this command wrote; later ones win.
    #[arg(required = true)]
    report: Vec<PathBuf>,
    /// Write the matrix to this file as JSON: verdicts and reasons, no evidence.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the matrix to this file as a page.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

pub(super) fn run(args: &MatrixArgs) -> Result<()> {
    let mut runs = Vec::new();
    for path in &args.report {
        runs.extend(matrix::read(path)?);
    }
    let merged = Matrix::of(&runs);
    let runs = merged.runs();
    print!("{}", table::render(&runs));
    println!();
    for run in &runs {
        println!("{}", table::verdicts(run));
    }
    if let Some(path) = &args.json {
        let mut text = serde_json::to_string_pretty(&merged)?;
        text.push('\n');
        write(path, &text)?;
    }
    if let Some(path) = &args.markdown {
        write(path, &merged.page())?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    println!("matrix: {}", path.display());
    Ok(())
}
