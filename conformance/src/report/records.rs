//! Records: a run as lines of JSON, written as it goes, so that a machine that dies keeps what it gave.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::model::{CheckReport, Repeats, RunReport};

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A run begins; its checks follow.
    Run(Box<RunReport>),
    /// A check begins.
    Start {
        /// Id of the requirement.
        id: String,
    },
    /// A verdict.
    Check(Box<CheckReport>),
    /// Written last, by the side that ran the machine: what it was, and how it died if it did.
    Machine {
        /// `vm-tcg` or `vm-kvm`.
        name: String,
        /// Kernel release, if the machine came that far.
        kernel: Option<String>,
        /// Why the machine gave no more, with the kernel's last lines.
        died: Option<String>,
    },
    /// The run is complete.
    End {
        /// Wall time, milliseconds.
        wall_ms: u64,
        /// Records that the ring had no room for; `u64::MAX` when their number is not known.
        events_lost: u64,
        /// What was still there after the clean-up.
        left_behind: Vec<String>,
        /// What repeating the checks showed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repeats: Option<Repeats>,
    },
}

/// Where records go. Without a file they go nowhere.
#[derive(Debug)]
pub struct Recorder {
    file: Option<Mutex<File>>,
}

impl Recorder {
    /// Appends to a file or writes to a device; `None` for no records.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = match path {
            Some(path) => {
                let file = File::options().create(true).append(true).open(path);
                let file = file
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
                Some(Mutex::new(file))
            }
            None => None,
        };
        Ok(Self { file })
    }

    /// Writes one record, whole.
    ///
    /// # Errors
    /// When the file does not take it.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}

/// The runs that a text of records tells of. A torn last line is dropped; a run without an end ended early.
#[must_use]
pub fn runs(text: &str) -> Vec<RunReport> {
    let mut reader = Reader::default();
    for record in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        reader.take(record);
    }
    reader.finish()
}

/// Puts runs together from their records.
#[derive(Default)]
struct Reader {
    done: Vec<RunReport>,
    open: Option<RunReport>,
    /// Checks that began and have no verdict yet.
    begun: Vec<String>,
}

impl Reader {
    fn take(&mut self, record: Record) {
        match record {
            Record::Run(run) => {
                self.close(None);
                self.open = Some(*run);
            }
            Record::Start { id } => self.begun.push(id),
            Record::Check(check) => {
                self.begun.retain(|begun| *begun != check.id);
                if let Some(run) = &mut self.open {
                    run.checks.push(*check);
                }
            }
            Record::End { wall_ms, events_lost, left_behind, repeats } => {
                if let Some(mut run) = self.open.take() {
                    run.wall_ms = wall_ms;
                    run.events_lost = events_lost;
                    run.left_behind = left_behind;
                    run.repeats = repeats;
                    self.done.push(run);
                }
            }
            Record::Machine { name, kernel, died } => {
                if died.is_some() && self.open.is_none() {
                    self.open = Some(RunReport::unborn(kernel.as_deref().unwrap_or("unknown")));
                }
                self.close(died.as_deref());
                for run in &mut self.done {
                    run.machine.clone_from(&name);
                }
            }
        }
    }

    /// Ends a run that has no end of its own.
    fn close(&mut self, died: Option<&str>) {
        let Some(mut run) = self.open.take() else { return };
        let during = match self.begun.as_slice() {
            [] => String::new(),
            begun => format!(" (during {})", begun.join(", ")),
        };
        run.ended_early = Some(format!("{}{during}", died.unwrap_or("the records end here")));
        self.begun.clear();
        self.done.push(run);
    }

    fn finish(mut self) -> Vec<RunReport> {
        self.close(None);
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: &Record) -> String {
        serde_json::to_string(record).unwrap() + "\n"
    }

    fn run() -> Record {
        Record::Run(Box::new(RunReport::unborn("6.12.1")))
    }

    #[test]
    fn a_machine_that_dies_keeps_its_verdicts_and_names_what_killed_it() {
        let text = line(&run())
            + &line(&Record::Start { id: "CG-02".to_owned() })
            + &line(&Record::Machine {
                name: "vm-tcg".to_owned(),
                kernel: None,
                died: Some("panic".to_owned()),
            });
        let runs = runs(&text);
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[0].ended_early.as_deref(), Some("panic (during CG-02)"));
        assert_eq!(runs[0].machine, "vm-tcg");
    }

    #[test]
    fn a_torn_last_line_is_dropped() {
        let end = line(&Record::End { wall_ms: 5, events_lost: 0, left_behind: Vec::new(), repeats: None });
        let text = line(&run()) + &end[..end.len() / 2];
        assert!(runs(&text)[0].ended_early.is_some());
        let text = line(&run()) + &end;
        assert_eq!(runs(&text)[0].ended_early, None);
    }
}
