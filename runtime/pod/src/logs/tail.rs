//! Where the last lines begin, found from the end.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use super::files::LogFile;
use super::record::{HEAD_MAX, Head, Parsed, parse};
use super::{LogError, Stream};

/// How much is read at once.
const BLOCK: usize = 32 * 1024;

/// A place in a log: the index of the file, and the bytes before it there.
pub(super) type Position = (usize, u64);

/// Finds where each stream begins so that the last `n` lines are shown: those that ended last, each from its first record on,
/// be that far away. A stream that has none of them begins at the end.
pub(super) fn find(chain: &[LogFile], n: usize, only: Option<Stream>) -> Result<[Position; 2], LogError> {
    let last = chain.len().saturating_sub(1);
    let end = match chain.last() {
        Some(file) => (last, file.size()?),
        None => (0, 0),
    };
    let is_selected = |stream: Stream| only.is_none_or(|only| only == stream);
    let mut search = Search {
        n_left: n,
        starts: [end; 2],
        is_in_line: [false; 2],
        is_done: Stream::ALL.map(|s| !is_selected(s)),
    };
    for (idx, file) in chain.iter().enumerate().rev() {
        if search.is_over() {
            break;
        }
        let size = if idx == last { end.1 } else { file.size()? };
        lines_from_end(file, size, |offset, bytes| {
            if let Parsed::Head(head) = parse(bytes) {
                search.see(&head, (idx, offset));
            }
            if search.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    Ok(search.starts)
}

/// Records, seen from the last to the first.
#[derive(Debug)]
struct Search {
    /// Lines still to be found.
    n_left: usize,
    starts: [Position; 2],
    /// The beginning of the stream's current line has not been seen.
    is_in_line: [bool; 2],
    /// Nothing more is wanted of the stream.
    is_done: [bool; 2],
}

impl Search {
    fn is_over(&self) -> bool {
        let needs = |idx: usize| !self.is_done[idx] && (self.is_in_line[idx] || self.n_left > 0);
        !needs(0) && !needs(1)
    }

    fn see(&mut self, head: &Head, position: Position) {
        let idx = head.stream.idx();
        if self.is_done[idx] {
            return;
        }
        // An `F` ends the line before the one that has been seen. A `P` belongs to it, or is a last line without an end.
        let is_other_line = !head.is_partial || !self.is_in_line[idx];
        if is_other_line {
            if self.n_left == 0 {
                self.is_done[idx] = true;
                return;
            }
            self.n_left -= 1;
        }
        self.is_in_line[idx] = true;
        self.starts[idx] = position;
    }
}

/// Calls with the offset and the first bytes of each line, the last line first.
fn lines_from_end(
    file: &LogFile,
    size: u64,
    mut line: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<(), LogError> {
    let mut buffer = vec![0; BLOCK + HEAD_MAX];
    let mut end = size;
    while end > 0 {
        let begin = end.saturating_sub(BLOCK as u64);
        // The heads of lines that begin at the end of the block reach into the next.
        let length = (end - begin + HEAD_MAX as u64).min(size - begin);
        let bytes = &mut buffer[..usize::try_from(length).unwrap_or(BLOCK + HEAD_MAX)];
        match file.file.read_exact_at(bytes, begin) {
            // It was cut by somebody.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            result => result.map_err(LogError::file("read", &file.path))?,
        }
        let mut n_unseen = usize::try_from(end - begin).unwrap_or(BLOCK);
        while let Some(newline) = bytes[..n_unseen.min(bytes.len())].iter().rposition(|byte| *byte == b'\n') {
            n_unseen = newline;
            let offset = begin + newline as u64 + 1;
            // The last newline begins no line.
            if offset < size && line(offset, &bytes[newline + 1..]).is_break() {
                return Ok(());
            }
        }
        if begin == 0 && line(0, bytes).is_break() {
            return Ok(());
        }
        end = begin;
    }
    Ok(())
}
