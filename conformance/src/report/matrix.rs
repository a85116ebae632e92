//! The matrix of requirements by runtime and kernel: verdicts and reasons of several reports, without their evidence.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::model::{CheckReport, Report, RunReport};
use super::table;
use crate::checks;

/// The matrix, schema 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    /// Version of the format: 1.
    pub schema: u32,
    /// A column for each runtime and kernel.
    pub columns: Vec<Column>,
}

/// One runtime on one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name of the runtime.
    pub runtime: String,
    /// Its version.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// `vm-tcg`, `vm-kvm` or `host`.
    pub machine: String,
    /// What the checks came to, in the order of the catalog.
    pub cells: Vec<Cell>,
}

/// One verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Id of the requirement.
    pub id: String,
    /// Its short name, in words.
    pub name: String,
    /// `MUST` or `SHOULD`.
    pub level: String,
    /// `pass`, `fail`, `skip` or `inconclusive`.
    pub verdict: String,
    /// Why; empty for a pass.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The line of the baseline that explains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
}

impl Column {
    fn of(run: &RunReport) -> Self {
        let cell = |check: &CheckReport| Cell {
            id: check.id.clone(),
            name: check.name.clone(),
            level: check.level.clone(),
            verdict: check.verdict.clone(),
            reason: check.reason.clone(),
            known: check.known.clone(),
        };
        Self {
            runtime: run.subject(),
            version: run.runtime.version.clone(),
            kernel: run.kernel.clone(),
            machine: run.machine.clone(),
            cells: run.checks.iter().map(cell).collect(),
        }
    }

    /// The run that it is of, as far as it is known.
    #[must_use]
    pub fn run(&self) -> RunReport {
        let mut run = RunReport::unborn(&self.kernel);
        run.runtime.name.clone_from(&self.runtime);
        run.runtime.version.clone_from(&self.version);
        run.machine.clone_from(&self.machine);
        run.checks = self.cells.iter().map(Cell::check).collect();
        run
    }

    fn is_of(&self, other: &Self) -> bool {
        let key = |it: &Self| {
            (it.runtime.clone(), it.version.clone(), it.run().kernel_series(), it.machine.clone())
        };
        key(self) == key(other)
    }
}

impl Cell {
    fn check(&self) -> CheckReport {
        CheckReport {
            id: self.id.clone(),
            name: self.name.clone(),
            level: self.level.clone(),
            verdict: self.verdict.clone(),
            reason: self.reason.clone(),
            known: self.known.clone(),
            ..CheckReport::default()
        }
    }
}

impl Matrix {
    /// The matrix of these runs. Of two runs of one runtime and kernel series the later one gives the verdicts that it has.
    #[must_use]
    pub fn of<'r>(runs: impl IntoIterator<Item = &'r RunReport>) -> Self {
        let mut columns: Vec<Column> = Vec::new();
        for column in runs.into_iter().map(Column::of) {
            match columns.iter_mut().find(|known| known.is_of(&column)) {
                Some(known) => {
                    known.kernel = column.kernel;
                    for cell in column.cells {
                        match known.cells.iter_mut().find(|other| other.id == cell.id) {
                            Some(other) => *other = cell,
                            None => known.cells.push(cell),
                        }
                    }
                }
                None => columns.push(column),
            }
        }
        for column in &mut columns {
            column.cells.sort_by_key(|cell| table::place(&cell.id));
        }
        Self { schema: 1, columns }
    }

    /// Its columns as runs.
    #[must_use]
    pub fn runs(&self) -> Vec<RunReport> {
        self.columns.iter().map(Column::run).collect()
    }

    /// As a page in Markdown.
    #[must_use]
    pub fn page(&self) -> String {
        let runs = self.runs();
        let mut text = String::from(
            "# What runtimes come to\n\nMade from `matrix.json` by `podproof matrix docs/matrix.json --markdown docs/matrix.md`; \
             [report.md](report.md) tells how both are made from new runs.\n\n",
        );
        text += "✔ pass, **✘** failed MUST, ✘ failed SHOULD, – skipped, ? inconclusive. A number leads to its reason below.\n";
        let mut notes: Vec<(String, Vec<String>)> = Vec::new();
        let mut area = String::new();
        for (id, name) in table::requirements(&runs) {
            let own = id.split('-').next().unwrap_or(&id);
            if own != area {
                own.clone_into(&mut area);
                let title = checks::find(&id).map_or("", |check| check.requirement.area_title());
                text += &format!("\n## {area}: {title}\n\n| check | requirement |");
                for run in &runs {
                    let head =
                        format!("{} {} on {}", run.subject(), run.runtime.version, run.kernel_series());
                    text += &format!(" {} |", escaped(&head));
                }
                text += &format!("\n|---|---|{}\n", ":-:|".repeat(runs.len()));
            }
            text += &format!("| {} | {} |", escaped(&id), escaped(&name));
            for run in &runs {
                let shown =
                    run.checks.iter().find(|check| check.id == id).map_or_else(String::new, |check| {
                        let number = number(&mut notes, &id, run, check);
                        format!("{}{number}", sign(check))
                    });
                text += &format!(" {shown} |");
            }
            text.push('\n');
        }
        text += "\n## Sums\n\n| runtime | kernel | machine | pass | fail | skip | inconclusive |\n|---|---|---|--:|--:|--:|--:|\n";
        for run in &runs {
            let count = |word: &str| run.checks.iter().filter(|check| check.verdict == word).count();
            text += &format!(
                "| {} {} | {} | {} | {} | {} | {} | {} |\n",
                escaped(&run.subject()),
                escaped(&run.runtime.version),
                escaped(&run.kernel),
                escaped(&run.machine),
                count("pass"),
                count("fail"),
                count("skip"),
                count("inconclusive")
            );
        }
        if !notes.is_empty() {
            text += "\n## Reasons\n\n";
        }
        for (index, (reason, whose)) in notes.iter().enumerate() {
            text += &format!("{}. {} ({})\n", index + 1, escaped(reason), escaped(&whose.join(", ")));
        }
        text
    }
}

/// The sign of a verdict.
fn sign(check: &CheckReport) -> &'static str {
    match (check.verdict.as_str(), check.level.as_str()) {
        ("pass", _) => "✔",
        ("fail", "MUST") => "**✘**",
        ("fail", _) => "✘",
        ("skip", _) => "–",
        _ => "?",
    }
}

/// The number of a verdict's reason; equal ones of a requirement share it.
fn number(notes: &mut Vec<(String, Vec<String>)>, id: &str, run: &RunReport, check: &CheckReport) -> String {
    let known = check.known.as_ref().filter(|known| !known.is_empty());
    let reason = known.unwrap_or(&check.reason);
    if reason.is_empty() {
        return String::new();
    }
    let reason = format!("{id}: {reason}");
    let whose = format!("{} on {}", run.subject(), run.kernel_series());
    let index = notes.iter().position(|(known, _)| *known == reason).unwrap_or_else(|| {
        notes.push((reason, Vec::new()));
        notes.len() - 1
    });
    notes[index].1.push(whose);
    format!(" {}", index + 1)
}

/// The text as Markdown shows it, in one line.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in crate::trace::printable(text).chars() {
        match c {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// The runs of a file: a report, or a matrix that was made of some.
///
/// # Errors
/// When it cannot be read or is neither.
pub fn read(path: &Path) -> Result<Vec<RunReport>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    if value["schema"] != 1 {
        bail!("{}: schema {}; this is for 1", path.display(), value["schema"]);
    }
    let not_one = || format!("{} is neither a report nor a matrix", path.display());
    if value["columns"].is_array() {
        let matrix: Matrix = serde_json::from_value(value).with_context(not_one)?;
        return Ok(matrix.runs());
    }
    let report: Report = serde_json::from_value(value).with_context(not_one)?;
    Ok(report.runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Adapter;
    use crate::report::sample::{check, hostile, run};

    #[test]
    fn reports_are_merged_and_the_later_verdict_holds() {
        let first = run("runc", "6.12.1", vec![check("NS-02", "fail"), check("REAP-01", "pass")]);
        let later = run("runc", "6.12.9", vec![check("NS-02", "pass"), check("NS-01", "pass")]);
        let other = run("runc", "6.1.9", vec![check("NS-02", "fail")]);
        let matrix = Matrix::of([&first, &later, &other]);
        assert_eq!(matrix.columns.len(), 2);
        let cells: Vec<(&str, &str)> =
            matrix.columns[0].cells.iter().map(|cell| (cell.id.as_str(), cell.verdict.as_str())).collect();
        assert_eq!(cells, [("NS-01", "pass"), ("NS-02", "pass"), ("REAP-01", "pass")]);
        assert_eq!(matrix.columns[0].kernel, "6.12.9");
        let again: Matrix = serde_json::from_str(&serde_json::to_string(&matrix).unwrap()).unwrap();
        assert_eq!(Matrix::of(&again.runs()), matrix);
    }

    #[test]
    fn a_hostile_text_breaks_no_table() {
        let page = Matrix::of([&hostile()]).page();
        let tables = page.lines().filter(|line| line.starts_with('|'));
        let bars = |line: &str| line.matches('|').count() - line.matches("\\|").count();
        for line in tables.take_while(|line| !line.starts_with("| runtime")) {
            assert_eq!(bars(line), 4, "{line}");
        }
        assert!(!page.contains("<script>"));
    }

    #[test]
    fn the_committed_page_is_made_from_the_committed_matrix() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let runs = read(&docs.join("matrix.json")).unwrap();
        let page = fs::read_to_string(docs.join("matrix.md")).unwrap();
        assert!(Matrix::of(&runs).page() == page, "make docs/matrix.md again: `podproof matrix` tells how");
    }

    #[test]
    fn the_committed_matrix_has_every_check_in_each_column_and_explains_what_is_red() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        for run in read(&docs.join("matrix.json")).unwrap() {
            let adapter = if run.subject().ends_with(" pods") { Adapter::Podrt } else { Adapter::Oci };
            let driven = checks::all().filter(|check| check.requirement.has(adapter));
            let ids: Vec<&str> = driven.map(|check| check.requirement.id).collect();
            let recorded: Vec<&str> = run.checks.iter().map(|check| check.id.as_str()).collect();
            assert_eq!(recorded, ids, "{}: record it again", run.title());
            for check in run.checks.iter().filter(|check| check.is_red()) {
                assert!(check.known.is_some(), "{} of {}", check.id, run.title());
            }
        }
    }
}
