//! The guest kernel's log from the serial line: kept whole in a file, its last lines in memory, and searched
//! for the two messages that decide an outcome.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Lines that a message shows: an oops and the panic that follows, each with its stack trace.
const N_LAST_LINES: usize = 80;

/// The log of one boot.
#[derive(Debug)]
pub(crate) struct SerialLog {
    file: File,
    path: PathBuf,
    last: VecDeque<String>,
    panic: Option<String>,
    oom_victim: Option<OomVictim>,
}

/// The process that the kernel killed to get memory back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OomVictim {
    /// Its number in the guest.
    pub pid: i32,
    /// Its name (`comm`).
    pub name: String,
}

/// The log could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write kernel log {}", path.display())]
pub struct LogError {
    path: PathBuf,
    source: std::io::Error,
}

impl SerialLog {
    /// Starts the file anew.
    pub(crate) fn create(path: &Path) -> Result<Self, LogError> {
        let failed = |source| LogError { path: path.to_owned(), source };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(failed)?;
        }
        let file = File::create(path).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), last: VecDeque::new(), panic: None, oom_victim: None })
    }

    /// Takes one line without its newline.
    pub(crate) fn line(&mut self, line: &[u8]) -> Result<(), LogError> {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
        writeln!(self.file, "{text}").map_err(|source| LogError { path: self.path.clone(), source })?;
        if self.panic.is_none() {
            self.panic = panic_reason(&text);
        }
        if self.oom_victim.is_none() {
            self.oom_victim = oom_victim(&text);
        }
        if self.last.len() == N_LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(text);
        Ok(())
    }

    pub(crate) fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    pub(crate) fn oom_victim(&self) -> Option<&OomVictim> {
        self.oom_victim.as_ref()
    }

    pub(crate) fn into_last_lines(self) -> Vec<String> {
        self.last.into()
    }
}

fn panic_reason(line: &str) -> Option<String> {
    let (_, reason) = line.split_once("Kernel panic - not syncing: ")?;
    Some(reason.trim().to_owned())
}

/// Only the whole machine's shortage: the message for a cgroup over its limit, which suites cause on
/// purpose, begins with "Memory cgroup out of memory".
fn oom_victim(line: &str) -> Option<OomVictim> {
    let (_, rest) = line.split_once("Out of memory: Killed process ")?;
    let (pid, rest) = rest.split_once(" (")?;
    let (name, _) = rest.split_once(')')?;
    Some(OomVictim { pid: pid.parse().ok()?, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_kernel_are_recognised() {
        assert_eq!(
            panic_reason("[    1.2] Kernel panic - not syncing: sysrq triggered crash"),
            Some("sysrq triggered crash".into())
        );
        assert_eq!(panic_reason("[    1.2] no panic"), None);
        let global = "[    3.1] Out of memory: Killed process 77 (tail) total-vm:1kB, anon-rss:1kB";
        assert_eq!(oom_victim(global), Some(OomVictim { pid: 77, name: "tail".into() }));
        assert_eq!(oom_victim("Memory cgroup out of memory: Killed process 77 (tail) total-vm:1kB"), None);
    }

    #[test]
    fn the_file_has_all_lines_and_memory_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/kernel.log");
        let mut log = SerialLog::create(&path).unwrap();
        for number in 0..100 {
            log.line(format!("line {number}\r").as_bytes()).unwrap();
        }
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("line 0\nline 1\n") && text.lines().count() == 100);
        let last = log.into_last_lines();
        assert_eq!(
            (last.len(), last[0].as_str(), last[N_LAST_LINES - 1].as_str()),
            (N_LAST_LINES, "line 20", "line 99")
        );
    }
}
