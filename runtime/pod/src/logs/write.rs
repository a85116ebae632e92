//! Writing a log: one system call for the records of a chunk, nothing kept but the beginning of a line that has not ended.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, IoSlice, Write};
use std::mem;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::record::{CONTENT_MAX, head};
use super::{LogError, Stream, files};

/// Records are collected up to so many bytes; a larger one is written alone.
const BATCH_MAX: usize = 32 * 1024;

/// How much of a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of each file. Only a single record that is larger makes a larger file.
    pub max_bytes: u64,
    /// Number of files, with the one that is being written. Meant to be small: readers of a tail hold all of them open.
    pub max_files: u32,
}

impl Default for Limits {
    /// The kubelet's `containerLogMaxSize` and `containerLogMaxFiles`.
    fn default() -> Self {
        Self { max_bytes: 10 * 1024 * 1024, max_files: 5 }
    }
}

/// Writes the log of one start of a container.
///
/// After a SIGKILL at any moment at most the last record is incomplete; the next [`LogWriter::open`] ends its line.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    limits: Limits,
    file: File,
    /// Bytes in the file.
    size: u64,
    /// The last record is incomplete and could not be taken back.
    is_torn: bool,
    /// Of each stream, the line that has not ended: at most [`CONTENT_MAX`] bytes.
    pending: [Vec<u8>; 2],
    /// Records to be written; empty between calls.
    batch: Vec<u8>,
}

impl LogWriter {
    /// Opens a log to add to it, or makes it (mode 0640); its directory must exist.
    ///
    /// # Errors
    /// [`LogError::Limits`], [`LogError::NotAFile`], else the failed operation.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, LogError> {
        if limits.max_bytes == 0 || limits.max_files == 0 {
            return Err(LogError::Limits { limits });
        }
        let file = open_to_append(path)?;
        let size = file.metadata().map_err(LogError::file("look at", path))?.len();
        let mut last = [b'\n'];
        if let Some(offset) = size.checked_sub(1) {
            file.read_exact_at(&mut last, offset).map_err(LogError::file("read", path))?;
        }
        let (path, pending) = (path.to_owned(), [Vec::new(), Vec::new()]);
        let is_torn = last != [b'\n'];
        let mut log = Self { path, limits, file, size, is_torn, pending, batch: Vec::new() };
        if log.is_torn {
            log.append(&mut [IoSlice::new(b"\n")])?;
            log.is_torn = false;
        }
        // An interrupted rotation left these.
        let new = files::replacement(&log.path);
        files::remove_file(&new).map_err(LogError::file("remove", new))?;
        log.remove_old()?;
        Ok(log)
    }

    /// Adds what a program wrote. All of it is tried even if a part fails, and what could not be written is not tried again: a
    /// full disk must not stop the container.
    ///
    /// # Errors
    /// The first failed operation.
    pub fn write(&mut self, stream: Stream, chunk: &[u8], now: SystemTime) -> Result<(), LogError> {
        let mut result = Ok(());
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let done = match piece.strip_suffix(b"\n") {
                Some(end) => self.add(stream, end, true, now),
                None => self.add(stream, piece, false, now),
            };
            result = result.and(done);
        }
        result.and(self.flush())
    }

    /// Writes what is left of a stream that has ended. A line without its end is tagged `P`, as containerd does it.
    ///
    /// # Errors
    /// The failed operation.
    pub fn end(&mut self, stream: Stream, now: SystemTime) -> Result<(), LogError> {
        let pending = mem::take(&mut self.pending[stream.idx()]);
        if pending.is_empty() {
            return Ok(());
        }
        let collected = self.record(stream, true, &pending, &[], now);
        collected.and(self.flush())
    }

    /// Writes what is left of both streams.
    ///
    /// # Errors
    /// The first failed operation.
    pub fn finish(&mut self, now: SystemTime) -> Result<(), LogError> {
        let stdout = self.end(Stream::Stdout, now);
        stdout.and(self.end(Stream::Stderr, now))
    }

    /// Adds to the line of a stream.
    fn add(
        &mut self,
        stream: Stream,
        mut piece: &[u8],
        is_end: bool,
        now: SystemTime,
    ) -> Result<(), LogError> {
        let mut pending = mem::take(&mut self.pending[stream.idx()]);
        let mut result = Ok(());
        while pending.len() + piece.len() > CONTENT_MAX {
            let (part, rest) = piece.split_at(CONTENT_MAX - pending.len());
            result = result.and(self.record(stream, true, &pending, part, now));
            pending.clear();
            piece = rest;
        }
        if is_end {
            // The memory of the line is given back with it.
            return result.and(self.record(stream, false, &pending, piece, now));
        }
        pending.extend_from_slice(piece);
        self.pending[stream.idx()] = pending;
        result
    }

    /// Collects one record; its content comes in two parts.
    fn record(
        &mut self,
        stream: Stream,
        is_partial: bool,
        begin: &[u8],
        end: &[u8],
        now: SystemTime,
    ) -> Result<(), LogError> {
        let head = head(now, stream, is_partial);
        let length = head.len() + begin.len() + end.len() + 1;
        let is_over = |log: &Self| {
            let used = log.size + log.batch.len() as u64 + u64::from(log.is_torn);
            used > 0 && used.saturating_add(length as u64) > log.limits.max_bytes
        };
        let mut result = Ok(());
        if is_over(self) || self.batch.len() + length > BATCH_MAX {
            result = self.flush();
        }
        if is_over(self) {
            // When that fails the record is lost: a limit holds, whatever happens.
            let rotated = self.rotate();
            if rotated.is_err() {
                return result.and(rotated);
            }
        }
        for part in [head.as_bytes(), begin, end, b"\n"] {
            self.batch.extend_from_slice(part);
        }
        result
    }

    /// Writes what was collected.
    fn flush(&mut self) -> Result<(), LogError> {
        // The memory is given back: containers are silent most of the time.
        let batch = mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let repair: &[u8] = if self.is_torn { b"\n" } else { b"" };
        self.append(&mut [repair, &batch[..]].map(IoSlice::new))?;
        self.is_torn = false;
        Ok(())
    }

    /// Writes all parts or nothing.
    fn append(&mut self, mut parts: &mut [IoSlice<'_>]) -> Result<(), LogError> {
        let mut n_written = 0;
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let error = match self.file.write_vectored(parts) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(n) => {
                    n_written += n;
                    IoSlice::advance_slices(&mut parts, n);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            if n_written > 0 && self.file.set_len(self.size).is_err() {
                self.size += n_written as u64;
                self.is_torn = true;
            }
            return Err(LogError::file("write", &self.path)(error));
        }
        self.size += n_written as u64;
        Ok(())
    }

    /// Gives the file the next number, and begins another. What can fail for want of room comes before anything is renamed.
    fn rotate(&mut self) -> Result<(), LogError> {
        let failed = |op| LogError::file(op, &self.path);
        let numbers = files::rotated(&self.path).map_err(failed("list the rotated files of"))?;
        let number = numbers.last().map_or(Some(1), |last| last.checked_add(1));
        let number =
            number.ok_or(ErrorKind::AlreadyExists.into()).map_err(failed("find a number to rotate"))?;
        let (rotated, new) = (files::numbered(&self.path, number), files::replacement(&self.path));
        files::remove_file(&new).map_err(LogError::file("remove", &new))?;
        let file = open_to_append(&new)?;
        match fs::rename(&self.path, &rotated) {
            // Somebody else moved or removed it; that is no reason to stop.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => result.map_err(failed("rotate"))?,
        }
        if let Err(error) = fs::rename(&new, &self.path) {
            // Readers take a rotated file for complete, so it must not be one while it is being written.
            let is_back = fs::rename(&rotated, &self.path).is_ok();
            return Err(failed(if is_back { "begin" } else { "begin, after its rotation," })(error));
        }
        (self.file, self.size, self.is_torn) = (file, 0, false);
        self.remove_old()
    }

    /// Removes the oldest files beyond the limit.
    fn remove_old(&self) -> Result<(), LogError> {
        let numbers =
            files::rotated(&self.path).map_err(LogError::file("list the rotated files of", &self.path))?;
        let n_kept = usize::try_from(self.limits.max_files - 1).unwrap_or(usize::MAX);
        for number in &numbers[..numbers.len().saturating_sub(n_kept)] {
            let path = files::numbered(&self.path, *number);
            files::remove_file(&path).map_err(LogError::file("remove", &path))?;
        }
        Ok(())
    }
}

fn open_to_append(path: &Path) -> Result<File, LogError> {
    files::open(path, OpenOptions::new().read(true).append(true).create(true).mode(0o640))
}
