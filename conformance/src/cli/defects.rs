//! `podproof defects`: which defect was caught by which check, from the records of `podproof mutants`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::report::defects::{self, Defect, Matrix, Reach};
use crate::report::exit;
use crate::report::model::RunReport;

/// Reads the records of `podproof mutants`.
#[derive(Debug, Args)]
pub(super) struct DefectsArgs {
    /// Files of records, or matrices that this command wrote; of several runs of a defect the last one holds.
    #[arg(required_unless_present = "left")]
    records: Vec<PathBuf>,
    /// The saboteur, which knows the defects and what else they turn red.
    #[arg(long, value_name = "PATH")]
    saboteur: PathBuf,
    /// Write the matrix to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the matrix to this file as a page.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the evidence of each check, good and defective, into this directory.
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Print nothing but the names of the defects that were not caught yet by a run on at least so many checks.
    #[arg(long, value_name = "REACH", conflicts_with_all = ["json", "markdown", "evidence"])]
    left: Option<Reach>,
}

pub(super) fn run(args: &DefectsArgs) -> Result<u8> {
    let defects = defects::list(&args.saboteur)?;
    let mut matrix = Matrix::new(&[], &defects);
    let mut runs = Vec::new();
    for path in &args.records {
        runs.extend(defects::take(&mut matrix, path, &defects)?);
    }
    if let Some(reach) = args.left {
        for defect in matrix.left(&defects, reach) {
            println!("{}", defect.name);
        }
        return Ok(exit::PASSED);
    }
    if let Some(dir) = &args.evidence {
        defects::write_evidence(dir, &runs)?;
    }
    let status = told(&matrix);
    if let Some(path) = &args.json {
        let mut text = serde_json::to_string_pretty(&matrix)?;
        text.push('\n');
        write(path, &text)?;
    }
    if let Some(path) = &args.markdown {
        write(path, &matrix.page())?;
    }
    Ok(status)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    println!("matrix: {}", path.display());
    Ok(())
}

/// Prints the matrix of these runs and its score; the exit status.
pub(super) fn tell(runs: &[RunReport], defects: &[Defect]) -> u8 {
    told(&Matrix::new(runs, defects))
}

fn told(matrix: &Matrix) -> u8 {
    print!("{}", matrix.render());
    if matrix.is_good() { exit::PASSED } else { exit::FAILED }
}
