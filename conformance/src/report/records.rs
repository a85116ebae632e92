//! Records: a run as lines of JSON, written as it goes, so that a machine that dies keeps what it gave.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::model::{CheckReport, RunReport};

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
    /// The run is complete.
    End {
        /// Wall time, milliseconds.
        wall_ms: u64,
        /// Records that the ring had no room for.
        events_lost: u64,
        /// What was still there after the clean-up.
        left_behind: Vec<String>,
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
    let mut runs: Vec<RunReport> = Vec::new();
    let mut open: Option<(RunReport, Option<String>)> = None;
    let early = |(mut run, started): (RunReport, Option<String>)| {
        run.ended_early = Some(match started {
            Some(id) => format!("the machine ended during {id}"),
            None => "the machine ended between two checks".to_owned(),
        });
        run
    };
    for line in text.lines() {
        let Ok(record) = serde_json::from_str::<Record>(line) else { continue };
        match record {
            Record::Run(run) => {
                runs.extend(open.take().map(early));
                open = Some((*run, None));
            }
            Record::Start { id } => {
                if let Some((_, started)) = &mut open {
                    *started = Some(id);
                }
            }
            Record::Check(check) => {
                if let Some((run, started)) = &mut open {
                    if started.as_deref() == Some(check.id.as_str()) {
                        *started = None;
                    }
                    run.checks.push(*check);
                }
            }
            Record::End { wall_ms, events_lost, left_behind } => {
                if let Some((mut run, _)) = open.take() {
                    run.wall_ms = wall_ms;
                    run.events_lost = events_lost;
                    run.left_behind = left_behind;
                    runs.push(run);
                }
            }
        }
    }
    runs.extend(open.take().map(early));
    runs
}
