//! What a program that holds a sandbox takes: on disk, and in memory while it waits.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::measure::{self, Res};
use crate::record::Record;

/// Starts the program and reads its memory once it waits.
pub(crate) fn of(name: &str, path: &Path) -> Res<Record> {
    let file_bytes = fs::metadata(path)?.len();
    let mut child = Command::new(path).stdin(Stdio::null()).spawn()?;
    let result = (|| -> Res<_> {
        let status = format!("/proc/{}/stat", child.id());
        // Asleep: all that it touches before it waits has been touched.
        while fs::read_to_string(&status)?.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('S')) {
            std::thread::yield_now();
        }
        let resident_bytes = measure::memory(child.id(), &["Rss"])?;
        Ok((resident_bytes, measure::memory(child.id(), &["Private_Clean", "Private_Dirty"])?))
    })();
    child.kill()?;
    child.wait()?;
    let (resident_bytes, private_bytes) = result?;
    Ok(Record::Pause { program: name.to_owned(), file_bytes, resident_bytes, private_bytes })
}
