//! The table at the end of a run: requirements down, runtimes and kernels across, and what to look at below.

use std::fmt::Write as _;

use super::model::{CheckReport, RunReport};
use crate::checks;
use crate::evidence::Lost;

/// Renders the table with its legend, reasons and counts.
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
        .map(|run| (format!("{} {}", run.runtime.name, run.runtime.version), short_kernel(run)))
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
    for id in ids(runs) {
        let name = checks::find(&id).map_or("", |check| check.requirement.name);
        write!(text, "{id:<9} {:<42}", name.replace('_', " "))?;
        for (run, width) in runs.iter().zip(&widths) {
            let word = run.checks.iter().find(|check| check.id == id).map_or("-", |check| mark(check));
            write!(text, "  {word:<width$}")?;
        }
        writeln!(text)?;
    }
    writeln!(text)?;
    for run in runs {
        write_remarks(text, run)?;
    }
    for run in runs {
        writeln!(text, "{}", counts(run))?;
    }
    Ok(())
}

fn write_remarks(text: &mut String, run: &RunReport) -> std::fmt::Result {
    let label = format!("{} on {}", run.runtime.name, short_kernel(run));
    for check in &run.checks {
        let label = match check.subject.as_str() {
            "sandbox" => format!("{} (the sandbox program) with {label}", run.sandbox.name),
            _ => label.clone(),
        };
        match check.verdict.as_str() {
            "pass" => {}
            verdict => writeln!(text, "{verdict:<13} {} {label}: {}", check.id, check.reason)?,
        }
        if !check.leaked.is_empty() {
            writeln!(
                text,
                "{:<13} {} {label}: left behind by the runtime: {}",
                "note",
                check.id,
                check.leaked.join("; ")
            )?;
        }
    }
    if let Some(reason) = &run.ended_early {
        writeln!(text, "{:<13} {label}: {reason}", "ended early")?;
    }
    if !run.left_behind.is_empty() {
        writeln!(text, "{:<13} {label}: {}", "left behind", run.left_behind.join("; "))?;
    }
    Ok(())
}

/// One line of counts: `podrt 0.1.0, kernel 6.12, vm-tcg: 34 passed, 0 failed, ... in 41.2 s`.
#[must_use]
pub fn counts(run: &RunReport) -> String {
    let count = |word: &str| run.checks.iter().filter(|check| check.verdict == word).count();
    format!(
        "{} {}, kernel {}, {}: {} verdicts, {} pass, {} fail, {} skip, {} inconclusive, {} lost, {:.1} s",
        run.runtime.name,
        run.runtime.version,
        run.kernel,
        run.machine,
        run.checks.len(),
        count("pass"),
        count("fail"),
        count("skip"),
        count("inconclusive"),
        Lost(run.events_lost).of("event"),
        std::time::Duration::from_millis(run.wall_ms).as_secs_f64()
    )
}

fn mark(check: &CheckReport) -> &'static str {
    match (check.verdict.as_str(), check.level.as_str()) {
        ("pass", _) => "pass",
        ("fail", "MUST") => "FAIL",
        ("fail", _) => "fail (SHOULD)",
        ("skip", _) => "skip",
        _ => "inconclusive",
    }
}

fn ids(runs: &[RunReport]) -> Vec<String> {
    let present = |id: &str| runs.iter().any(|run| run.checks.iter().any(|check| check.id == id));
    checks::all().map(|check| check.requirement.id).filter(|id| present(id)).map(str::to_owned).collect()
}

/// `6.12.117` of `6.12.117+deb12-cloud-amd64`, with the machine.
fn short_kernel(run: &RunReport) -> String {
    let end = run.kernel.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(run.kernel.len());
    format!("{} {}", &run.kernel[..end], run.machine)
}
