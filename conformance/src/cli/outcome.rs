//! What becomes of finished runs: baselines, the end on the terminal, the report directory, the exit status.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ColorChoice};
use serde_json::json;

use crate::report::baseline::{Baseline, Place, Standing};
use crate::report::live::Format;
use crate::report::model::{Report, RunReport};
use crate::report::{exit, html, junit, table, terminal, trace};

/// How verdicts are told, and what they are compared with.
#[derive(Debug, Clone, Args)]
pub(super) struct OutcomeArgs {
    /// How verdicts are told on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "pretty")]
    pub(super) format: Format,
    /// When to use colours; `auto` is for terminals, unless NO_COLOR is set.
    #[arg(long, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub(super) color: ColorChoice,
    /// Write `report.json`, `report.html`, `junit.xml` and `trace.json` into this directory.
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,
    /// The known failures: a file, or a directory in which each runtime has its own; what differs from them fails.
    #[arg(long, value_name = "FILE|DIR")]
    baseline: Option<PathBuf>,
    /// Write what these runs show into the baseline; new entries get an explanation from you.
    #[arg(long, requires = "baseline")]
    bless: bool,
}

impl OutcomeArgs {
    pub(super) fn is_coloured(&self) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if !io::stdout().is_terminal() => false,
            ColorChoice::Auto => anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
        }
    }

    /// Compares, tells and writes; the exit status.
    pub(super) fn conclude(&self, mut runs: Vec<RunReport>) -> Result<u8> {
        let standings = self.standings(&mut runs)?;
        let status = exit::status(&runs, &standings);
        let mut text = if self.format == Format::Json {
            let counts: Vec<String> = runs.iter().map(table::counts).collect();
            let end = json!({ "type": "end", "status": status, "runs": counts, "baselines": standings });
            format!("{end}\n")
        } else {
            terminal::render(&runs, &standings, self.is_coloured())
        };
        if let Some(dir) = &self.report_dir {
            // First: nobody may be there to read what is printed.
            for path in write(dir, runs)? {
                // The lines of JSON are for programs.
                match self.format {
                    Format::Json => eprintln!("report: {}", path.display()),
                    _ => _ = writeln!(text, "report: {}", path.display()),
                }
            }
        }
        match io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(status),
            written => written.context("write to standard output").map(|()| status),
        }
    }

    /// How each run stands to its baseline; known failures get their explanation.
    fn standings(&self, runs: &mut [RunReport]) -> Result<Vec<Option<Standing>>> {
        let Some(path) = &self.baseline else { return Ok(vec![None; runs.len()]) };
        let place = Place::of(path);
        if self.bless {
            bless(&place, runs)?;
        }
        let mut standings = Vec::new();
        for run in runs {
            let found = place.find(&run.subject(), &run.runtime.version)?;
            let Some((path, baseline)) = found else {
                let (name, version) = (run.subject(), &run.runtime.version);
                eprintln!("podproof: {name} {version} has no baseline in {}", path.display());
                standings.push(None);
                continue;
            };
            if baseline.version != run.runtime.version {
                let (known, own) = (&baseline.version, &run.runtime.version);
                eprintln!("podproof: {} is of version {known}, judged was {own}", path.display());
            }
            let standing = baseline.standing(run, &path);
            let series = run.kernel_series();
            for check in &mut run.checks {
                let known = baseline.known(&check.id, &series);
                check.known = known
                    .filter(|known| known.verdict == check.verdict)
                    .map(|known| known.explanation.clone());
            }
            standings.push(Some(standing));
        }
        Ok(standings)
    }
}

/// Writes what the runs show into the baseline of each runtime.
fn bless(place: &Place, runs: &[RunReport]) -> Result<()> {
    let subjects: BTreeSet<(String, &str)> =
        runs.iter().map(|run| (run.subject(), run.runtime.version.as_str())).collect();
    for (name, version) in subjects {
        let name = name.as_str();
        let own: Vec<&RunReport> = runs
            .iter()
            .filter(|run| run.subject() == name && run.runtime.version == version)
            .filter(|run| run.ended_early.is_none())
            .collect();
        if own.is_empty() {
            continue;
        }
        let (path, mut baseline) = place
            .find(name, version)?
            .unwrap_or_else(|| (place.file(name, version), Baseline::empty(name, version)));
        version.clone_into(&mut baseline.version);
        let before: Vec<String> = baseline.failures.iter().map(|known| known.id.clone()).collect();
        baseline.bless(&own, |id| Some(table::place(id)));
        baseline.write(&path)?;
        let is_there = |id: &String| baseline.failures.iter().any(|known| known.id == *id);
        let gone: Vec<&str> = before.iter().filter(|id| !is_there(id)).map(String::as_str).collect();
        let open: Vec<&str> = baseline
            .failures
            .iter()
            .filter(|known| known.explanation.is_empty())
            .map(|known| known.id.as_str())
            .collect();
        eprintln!("podproof: {}: {} known failures", path.display(), baseline.failures.len());
        if !gone.is_empty() {
            eprintln!("podproof: {}: taken out, as they no longer fail: {}", path.display(), gone.join(", "));
        }
        if !open.is_empty() {
            eprintln!("podproof: {}: write the explanation of {}", path.display(), open.join(", "));
        }
    }
    Ok(())
}

/// Writes the files of a report directory, and returns their paths.
fn write(dir: &Path, runs: Vec<RunReport>) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(dir).with_context(|| format!("make the report directory {}", dir.display()))?;
    let report = Report::new(runs);
    let files = [
        ("report.json", serde_json::to_string_pretty(&report).context("write the report as JSON")?),
        ("report.html", html::render(&report)?),
        ("junit.xml", junit::render(&report.runs)?),
        (
            "trace.json",
            serde_json::to_string(&trace::document(&report.runs)).context("write the trace as JSON")?,
        ),
    ];
    let mut paths = Vec::new();
    for (name, text) in files {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        paths.push(path);
    }
    Ok(paths)
}
