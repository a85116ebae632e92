//! What a program that holds a sandbox takes: on disk, and in memory while it waits.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Res;
use crate::record::Record;

/// Starts the program and reads its memory once it waits.
pub(crate) fn of(name: &str, path: &Path) -> Res<Record> {
    let file_bytes = fs::metadata(path)?.len();
    let mut child = Command::new(path).stdin(Stdio::null()).spawn()?;
    let result = (|| {
        let status = format!("/proc/{}/stat", child.id());
        // Asleep: all that it touches before it waits has been touched.
        while fs::read_to_string(&status)?.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('S')) {
            std::thread::yield_now();
        }
        fs::read_to_string(format!("/proc/{}/smaps_rollup", child.id()))
    })();
    child.kill()?;
    child.wait()?;
    let rollup = result?;
    let bytes = |field: &str| -> u64 {
        let lines = rollup.lines().filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        lines.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).sum::<u64>() << 10
    };
    Ok(Record::Pause {
        program: name.to_owned(),
        file_bytes,
        resident_bytes: bytes("Rss"),
        private_bytes: bytes("Private_Clean") + bytes("Private_Dirty"),
    })
}
