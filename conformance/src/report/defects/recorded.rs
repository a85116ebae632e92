//! What both witnesses saw of the checks that defects aim at, kept for the tests that cross it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::PREFIX;
use crate::evidence::Evidence;
use crate::report::model::{CheckReport, RunReport};

/// Recorded evidence of one check: of a good runtime, and of its defects.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Recorded {
    /// Of the good runtime.
    pub good: Option<Evidence>,
    /// Of defective ones, by the name of the defect.
    pub defects: BTreeMap<String, Evidence>,
}

/// Writes the evidence of every check that a defect aims at, one file per check.
///
/// # Errors
/// When a file cannot be written.
pub fn write_evidence(dir: &Path, runs: &[RunReport]) -> Result<()> {
    let mut recorded: BTreeMap<String, Recorded> = BTreeMap::new();
    for run in runs {
        let defect = run.runtime.name.strip_prefix(PREFIX);
        for check in &run.checks {
            let place = recorded.entry(check.id.clone()).or_default();
            match defect {
                None => place.good = Some(evidence(check)),
                Some(name) if name.starts_with(&check.id.to_lowercase()) => {
                    place.defects.insert(name.to_owned(), evidence(check));
                }
                Some(_) => {}
            }
        }
    }
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    for (id, recorded) in recorded.iter().filter(|(_, recorded)| !recorded.defects.is_empty()) {
        let path = dir.join(format!("{id}.json"));
        let mut text = serde_json::to_string_pretty(recorded)?;
        text.push('\n');
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// What a report keeps of a check's evidence, without the lines for people.
fn evidence(check: &CheckReport) -> Evidence {
    Evidence {
        inside: check.inside.clone(),
        kernel: check.kernel.clone(),
        trace: Vec::new(),
        events_lost: check.events_lost,
        refused: None,
    }
}
