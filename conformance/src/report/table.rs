//! The table at the end of a run: requirements down, runtimes and kernels across.

use std::fmt::Write as _;

use super::model::RunReport;
use super::words::{mark, seconds};
use crate::checks;
use crate::evidence::Lost;
use crate::trace::printable;

/// Renders the table.
#[must_use]
pub fn render(runs: &[RunReport]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write_table(&mut text, runs);
    text
}

fn write_table(text: &mut String, runs: &[RunReport]) -> std::fmt::Result {
    let heads: Vec<(String, String)> = runs
        .iter()
        .map(|run| (printable(&format!("{} {}", run.subject(), run.runtime.version)), kernel(run)))
        .collect();
    let widths: Vec<usize> = heads.iter().map(|(top, below)| top.len().max(below.len()).max(12)).collect();
    write!(text, "\n{:<9} {:<42}", "", "")?;
    for ((top, _), width) in heads.iter().zip(&widths) {
        write!(text, "  {top:<width$}")?;
    }
    write!(text, "\n{:<9} {:<42}", "check", "requirement")?;
    for ((_, below), width) in heads.iter().zip(&widths) {
        write!(text, "  {below:<width$}")?;
    }
    writeln!(text)?;
    for (id, name) in requirements(runs) {
        write!(text, "{id:<9} {name:<42}")?;
        for (run, width) in runs.iter().zip(&widths) {
            let word = run
                .checks
                .iter()
                .find(|check| check.id == id)
                .map_or("-", |check| if check.known.is_some() { "known" } else { mark(check) });
            write!(text, "  {word:<width$}")?;
        }
        writeln!(text)?;
    }
    Ok(())
}

/// One line of counts: `podrt 0.1.0, kernel 6.12, vm-tcg: 34 verdicts, 34 pass, ... 41.2 s`.
#[must_use]
pub fn counts(run: &RunReport) -> String {
    format!("{}, {} lost, {}", verdicts(run), Lost(run.events_lost).of("event"), seconds(run.wall_ms))
}

/// The same without what only the run itself knows.
#[must_use]
pub fn verdicts(run: &RunReport) -> String {
    let count = |word: &str| run.checks.iter().filter(|check| check.verdict == word).count();
    let (name, version) = (run.subject(), &run.runtime.version);
    format!(
        "{name} {version}, kernel {}, {}: {} verdicts, {} pass, {} fail, {} skip, {} inconclusive",
        run.kernel,
        run.machine,
        run.checks.len(),
        count("pass"),
        count("fail"),
        count("skip"),
        count("inconclusive"),
    )
}

/// Ids and names in the order of the catalog; those that it does not know, of another version's report, at the end.
#[must_use]
pub fn requirements(runs: &[RunReport]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for check in runs.iter().flat_map(|run| &run.checks) {
        if !found.iter().any(|(id, _)| *id == check.id) {
            let known = checks::find(&check.id).map(|known| known.requirement.name.replace('_', " "));
            found.push((check.id.clone(), known.unwrap_or_else(|| printable(&check.name))));
        }
    }
    found.sort_by_key(|(id, _)| place(id));
    found
}

/// The place of a requirement in the catalog.
#[must_use]
pub fn place(id: &str) -> usize {
    checks::all().position(|check| check.requirement.id == id).unwrap_or(usize::MAX)
}

fn kernel(run: &RunReport) -> String {
    printable(&format!("{} {}", run.kernel_version(), run.machine))
}
