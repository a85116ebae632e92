//! The matrix of defects and checks: the proof that every check can fail.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::model::{CheckReport, RunReport};
use crate::evidence::Evidence;

/// What the name of a defective runtime begins with.
pub const PREFIX: &str = "saboteur:";
/// What the name of a good runtime begins with that stands in for podrt.
pub const STAND_IN: &str = "stand-in:";

/// A defect, as the saboteur lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct Defect {
    /// Its name.
    pub name: String,
    /// The check that must fail because of it.
    pub target: String,
    /// What it does.
    pub does: String,
    /// Other checks that turn red.
    pub also_red: Vec<AlsoRed>,
}

/// A check that turns red although another is meant.
#[derive(Debug, Clone, Deserialize)]
pub struct AlsoRed {
    /// Id of the check.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// Asks the saboteur for its defects.
///
/// # Errors
/// When it cannot be run or prints something else.
pub fn list(saboteur: &Path) -> Result<Vec<Defect>> {
    listed(saboteur, "list")
}

/// podrt with something that it lacks: the good runtime for checks that it skips.
#[derive(Debug, Clone, Deserialize)]
pub struct StandIn {
    /// Its name.
    pub name: String,
    /// The checks that it must pass.
    pub serves: Vec<String>,
}

/// Asks the saboteur for its stand-ins.
///
/// # Errors
/// When it cannot be run or prints something else.
pub fn stand_ins(saboteur: &Path) -> Result<Vec<StandIn>> {
    listed(saboteur, "stand-ins")
}

fn listed<T: DeserializeOwned>(saboteur: &Path, what: &str) -> Result<T> {
    let output = Command::new(saboteur)
        .arg(what)
        .output()
        .with_context(|| format!("run the saboteur {}", saboteur.display()))?;
    ensure!(output.status.success(), "the saboteur {} failed: {}", saboteur.display(), output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("read the list of {}", saboteur.display()))
}

/// One line of the matrix.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The defect.
    pub name: String,
    /// The checks that must fail.
    pub targets: Vec<String>,
    /// The checks that did fail.
    pub caught_by: Vec<String>,
    /// Checks that turned red, are no target, and have no reason listed.
    pub unexpected_red: Vec<String>,
    /// What the target came to when it did not fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
}

/// The whole matrix, schema 1.
#[derive(Debug, Clone, Serialize)]
pub struct Matrix {
    /// Version of the format.
    pub schema: u32,
    /// A line for each defect that was tried.
    pub defects: Vec<Row>,
    /// Checks that the good runtime did not pass, or that the stand-in for it skipped; their catches prove nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control_red: Vec<String>,
    /// Caught defects among all.
    pub score: f64,
}

impl Matrix {
    /// The matrix of these runs: the control first, with its stand-ins, then one run per defect.
    #[must_use]
    pub fn new(runs: &[RunReport], defects: &[Defect]) -> Self {
        // What podrt skips as it lacks something, a stand-in that has it must not.
        let red = |run: &RunReport, check: &CheckReport| match check.verdict.as_str() {
            "fail" | "inconclusive" => true,
            "skip" => run.runtime.name.starts_with(STAND_IN),
            _ => false,
        };
        let control = runs.iter().filter(|run| !run.runtime.name.starts_with(PREFIX));
        let control_red: Vec<String> = control
            .flat_map(|run| run.checks.iter().filter(|check| red(run, check)))
            .map(|check| format!("{} {}", check.id, check.verdict))
            .collect();
        let rows: Vec<Row> = runs
            .iter()
            .filter_map(|run| {
                let name = run.runtime.name.strip_prefix(PREFIX)?;
                defects.iter().find(|defect| defect.name == name).map(|defect| Row::new(run, defect))
            })
            .collect();
        let caught = rows.iter().filter(|row| row.missed.is_none()).count();
        // Counts of defects are far below the precision of f64.
        #[expect(clippy::cast_precision_loss, reason = "some dozens of defects")]
        let score = if rows.is_empty() { 0.0 } else { caught as f64 / rows.len() as f64 };
        Self { schema: 1, defects: rows, control_red, score }
    }

    /// Every defect was caught, nothing else turned red without a reason, and the control passed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.control_red.is_empty()
            && !self.defects.is_empty()
            && self.defects.iter().all(|row| row.missed.is_none() && row.unexpected_red.is_empty())
    }

    /// For people.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for row in &self.defects {
            let verdict = match &row.missed {
                None => format!("caught by {}", row.caught_by.join(", ")),
                Some(missed) => format!("MISSED: {missed}"),
            };
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{:<36} {verdict}", row.name);
            if !row.unexpected_red.is_empty() {
                let _infallible =
                    writeln!(text, "{:<36} unexpectedly red: {}", "", row.unexpected_red.join(", "));
            }
        }
        for check in &self.control_red {
            let _infallible = writeln!(text, "the good runtime itself: {check}");
        }
        let caught = self.defects.iter().filter(|row| row.missed.is_none()).count();
        let _infallible = writeln!(
            text,
            "score: {caught} of {} defects caught ({:.0} %)",
            self.defects.len(),
            self.score * 100.0
        );
        text
    }
}

impl Row {
    fn new(run: &RunReport, defect: &Defect) -> Self {
        let target = run.checks.iter().find(|check| check.id == defect.target);
        let missed = match target {
            Some(check) if check.verdict == "fail" => None,
            Some(check) => Some(format!("{} {} {}", check.id, check.verdict, check.reason)),
            None => Some(match &run.ended_early {
                Some(reason) => format!("{} was not judged: {reason}", defect.target),
                None => format!("{} was not judged", defect.target),
            }),
        };
        let failed = run.checks.iter().filter(|check| check.verdict == "fail");
        let has_reason = |id: &str| id == defect.target || defect.also_red.iter().any(|also| also.id == id);
        let unexpected = run
            .checks
            .iter()
            .filter(|check| check.verdict == "fail" || check.verdict == "inconclusive")
            .filter(|check| !has_reason(&check.id))
            .map(|check| format!("{} {} ({})", check.id, check.verdict, check.reason));
        Self {
            name: defect.name.clone(),
            targets: vec![defect.target.clone()],
            caught_by: failed.map(|check| check.id.clone()).collect(),
            unexpected_red: unexpected.collect(),
            missed,
        }
    }
}

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
