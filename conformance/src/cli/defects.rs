//! `podproof defects`: which defect was caught by which check, from the records of `podproof mutants`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::report::defects::{self, Defect, Matrix};
use crate::report::model::RunReport;
use crate::report::{exit, records};

/// Reads the records of `podproof mutants`.
#[derive(Debug, Args)]
pub(super) struct DefectsArgs {
    /// Files of records.
    #[arg(required = true)]
    records: Vec<PathBuf>,
    /// The saboteur, which knows the defects and what else they turn red.
    #[arg(long, value_name = "PATH")]
    saboteur: PathBuf,
    /// Write the matrix to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the evidence of each check, good and defective, into this directory.
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
}

pub(super) fn run(args: &DefectsArgs) -> Result<u8> {
    let mut runs = Vec::new();
    for path in &args.records {
        let text = fs::read(path).with_context(|| format!("read records {}", path.display()))?;
        runs.extend(records::runs(&String::from_utf8_lossy(&text)));
    }
    if let Some(dir) = &args.evidence {
        defects::write_evidence(dir, &runs)?;
    }
    tell(&runs, &defects::list(&args.saboteur)?, args.json.as_deref())
}

/// Prints the matrix and its score; the exit status.
pub(super) fn tell(runs: &[RunReport], defects: &[Defect], json: Option<&Path>) -> Result<u8> {
    let matrix = Matrix::new(runs, defects);
    print!("{}", matrix.render());
    if let Some(path) = json {
        fs::write(path, serde_json::to_vec_pretty(&matrix)?)
            .with_context(|| format!("write {}", path.display()))?;
        println!("matrix: {}", path.display());
    }
    Ok(if matrix.is_good() { exit::PASSED } else { exit::FAILED })
}
