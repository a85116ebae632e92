//! Live lines: what a run has come to while it goes on.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde_json::json;

use super::model::{CheckReport, RunReport};
use super::words::{mark, seconds};
use crate::trace::printable;

/// How verdicts are told on the terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for each check.
    #[default]
    Pretty,
    /// A character for each check: `.` pass, `F` failed MUST, `f` failed SHOULD, `s` skip, `?` inconclusive.
    Terse,
    /// A JSON object a line, with `type`: `run`, `check`, and at last `end`.
    Json,
}

/// Characters of a terse line.
const TERSE_WIDTH: usize = 64;

/// Tells of the checks of one run as they are done, from whichever thread.
pub struct Live {
    format: Format,
    colour: bool,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    n_done: usize,
    n_total: usize,
    round: u32,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Live {
    /// One that writes to standard output.
    #[must_use]
    pub fn stdout(format: Format, colour: bool) -> Self {
        Self::to(Box::new(io::stdout()), format, colour)
    }

    /// One that nobody hears.
    #[must_use]
    pub fn silent() -> Self {
        Self::to(Box::new(io::sink()), Format::Terse, false)
    }

    /// One that writes there.
    #[must_use]
    pub fn to(out: Box<dyn Write + Send>, format: Format, colour: bool) -> Self {
        Self { format, colour, state: Mutex::new(State { out, n_done: 0, n_total: 0, round: 1 }) }
    }

    /// A run begins, with so many verdicts to come.
    pub fn begin(&self, run: &RunReport, n_total: usize) {
        let (name, version) = (printable(&run.subject()), printable(&run.runtime.version));
        let text = match self.format {
            Format::Json => {
                let told = json!({
                    "type": "run", "runtime": run.runtime, "kernel": run.kernel, "machine": run.machine, "total": n_total
                });
                format!("{told}\n")
            }
            _ => {
                let path = printable(&run.runtime.path);
                format!(
                    "\n{name} {version} ({path}), kernel {}: {n_total} verdicts to come\n",
                    printable(&run.kernel)
                )
            }
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.n_done, state.n_total, state.round) = (0, n_total, 1);
        say(&mut state, &text);
    }

    /// The checks begin again.
    pub fn round(&self, round: u32) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).round = round;
    }

    /// A check has its verdict.
    pub fn done(&self, check: &CheckReport) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.n_done += 1;
        let (n_done, n_total, round) = (state.n_done, state.n_total, state.round);
        let text = match self.format {
            Format::Pretty => self.line(check, n_done, n_total, round),
            Format::Terse => self.character(check, n_done, n_total),
            Format::Json => {
                let told = json!({
                    "type": "check", "id": check.id, "level": check.level, "verdict": check.verdict,
                    "reason": check.reason, "wall_ms": check.wall_ms, "done": n_done, "total": n_total, "round": round
                });
                format!("{told}\n")
            }
        };
        say(&mut state, &text);
    }

    fn line(&self, check: &CheckReport, n_done: usize, n_total: usize, round: u32) -> String {
        let width = n_total.to_string().len();
        let word = mark(check);
        let pad = " ".repeat(13_usize.saturating_sub(word.len()));
        let again = if round > 1 { format!(", round {round}") } else { String::new() };
        let name = printable(&check.name);
        let mut text = format!(
            "[{n_done:>width$}/{n_total}] {}{pad} {:<8} {name} ({}{again})\n",
            self.painted(check, word),
            check.id,
            seconds(check.wall_ms)
        );
        if check.verdict != "pass" {
            let indent = " ".repeat(2 * width + 4);
            text += &format!("{indent}{}\n", printable(&check.reason));
        }
        text
    }

    fn character(&self, check: &CheckReport, n_done: usize, n_total: usize) -> String {
        let character = match mark(check) {
            "pass" => ".",
            "FAIL" => "F",
            "skip" => "s",
            "inconclusive" => "?",
            _ => "f",
        };
        let end = if n_done == n_total || n_done.is_multiple_of(TERSE_WIDTH) {
            format!(" {n_done}/{n_total}\n")
        } else {
            String::new()
        };
        self.painted(check, character) + &end
    }

    fn painted(&self, check: &CheckReport, word: &str) -> String {
        if self.colour { painted(style(check), word) } else { word.to_owned() }
    }
}

/// The colour of a verdict.
#[must_use]
pub fn style(check: &CheckReport) -> Style {
    match mark(check) {
        "pass" => AnsiColor::Green.on_default(),
        "FAIL" => AnsiColor::Red.on_default().bold(),
        "skip" => Style::new().dimmed(),
        "inconclusive" => AnsiColor::Magenta.on_default(),
        _ => AnsiColor::Yellow.on_default(),
    }
}

pub(super) fn painted(style: Style, word: &str) -> String {
    format!("{style}{word}{style:#}")
}

/// A reader who left is no reason to end.
fn say(state: &mut State, text: &str) {
    if let Err(error) = state.out.write_all(text.as_bytes()).and_then(|()| state.out.flush()) {
        tracing::debug!(%error, "write a live line");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::report::sample::{self, hostile, run};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told(format: Format, colour: bool, run: &RunReport) -> String {
        let kept = Kept::default();
        let live = Live::to(Box::new(kept.clone()), format, colour);
        live.begin(run, run.checks.len());
        run.checks.iter().for_each(|check| live.done(check));
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    fn good() -> RunReport {
        let should = CheckReport { level: "SHOULD".to_owned(), ..sample::check("NS-03", "fail") };
        let checks = vec![sample::check("NS-01", "pass"), sample::check("NS-02", "fail"), should];
        run("runc", "6.12.1", checks)
    }

    #[test]
    fn a_line_has_progress_verdict_and_reason() {
        let text = told(Format::Pretty, false, &good());
        assert!(text.contains("[1/3] pass          NS-01    the name of NS-01 (1.2 s)\n"), "{text}");
        assert!(
            text.contains("[2/3] FAIL          NS-02    the name of NS-02 (1.2 s)\n      the reason"),
            "{text}"
        );
        assert!(text.contains("[3/3] fail (SHOULD) NS-03"), "{text}");
    }

    #[test]
    fn a_terse_run_is_a_row_of_characters() {
        let text = told(Format::Terse, false, &good());
        assert!(
            text.ends_with(":\u{20}3 verdicts to come\n.Ff 3/3\n") || text.ends_with("\n.Ff 3/3\n"),
            "{text}"
        );
    }

    #[test]
    fn every_line_of_json_is_an_object() {
        for run in [good(), hostile()] {
            for line in told(Format::Json, true, &run).lines() {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(value["type"].is_string());
            }
        }
    }

    #[test]
    fn colours_come_only_when_wanted() {
        assert!(!told(Format::Pretty, false, &good()).contains('\x1b'));
        assert!(told(Format::Pretty, true, &good()).contains("\x1b[1m\x1b[31mFAIL\x1b[0m"));
    }

    #[test]
    fn a_hostile_text_writes_no_control_character() {
        let text = told(Format::Pretty, false, &hostile());
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert_eq!(text.lines().count(), 2 + 3 + 2, "{text}");
    }
}
