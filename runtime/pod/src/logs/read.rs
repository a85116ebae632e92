//! Reading a log: rotated files too, and on while it grows.
//!
//! Lines are handed on as they are read, long ones in parts, so what is in a log cannot take memory. A line that is no record
//! is left out and counted.

use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::files::{self, LogFile};
use super::json::{self, Text};
use super::record::{Head, Parsed, parse};
use super::tail::{self, Position};
use super::wait::Watch;
use super::{LogError, Stream};

/// How much is read at once.
const BLOCK: usize = 64 * 1024;

/// What of a log is shown, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// Go on as the log grows, until the container is over.
    pub is_followed: bool,
    /// Only so many lines from the end (of the selected stream), counted before `since` is applied, as the kubelet does.
    pub tail: Option<usize>,
    /// Only records of this time and later.
    pub since: Option<SystemTime>,
    /// Begin each line with the time of its first record, as it stands in the log.
    pub has_timestamps: bool,
    /// Only this stream.
    pub stream: Option<Stream>,
    /// End after so many bytes of what was written, of both streams together.
    pub limit_bytes: Option<u64>,
    /// How it is handed on.
    pub form: Form<'a>,
}

/// The form of what is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form<'a> {
    /// As the program wrote it, each stream on its own.
    #[default]
    Text,
    /// Each record as a line of JSON, those of both streams on `out`, with their time whether or not it is asked for.
    Json {
        /// The container's name, which is given with each.
        container: &'a str,
    },
}

/// What became of a [`read`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines that are no records, such as a record that a crash cut off; they were not shown.
    pub n_skipped: u64,
}

/// Shows a log: stdout's lines on `out`, stderr's on `err`, or all of it as JSON on `out`.
///
/// `path` is the log of one start of a container ([`files::attempt_file`]), or the directory, for that of the last start.
/// Both receivers should be buffered; they are flushed before each wait and at the end.
///
/// With `is_followed` it waits for a log that is not there yet, and goes on until `is_over`, which is asked whenever all was
/// shown that there is, at least every quarter of a second. What was written before it first says true is shown. It ends as
/// well when the directory is removed.
///
/// # Errors
/// [`LogError::Missing`]; [`LogError::Receiver`], be it because nobody reads any more (`EPIPE`); else the failed operation.
pub fn read(
    path: &Path,
    options: &Options<'_>,
    out: &mut impl Write,
    err: &mut impl Write,
    mut is_over: impl FnMut() -> bool,
) -> Result<Summary, LogError> {
    let path = log_path(path)?;
    let directory = files::directory(&path);
    let missing = || LogError::Missing { path: path.clone() };
    if !directory.is_dir() {
        return Err(missing());
    }
    let watch = if options.is_followed { Some(Watch::new(directory)?) } else { None };
    let mut printer = Printer::new(options, out, err);
    let (mut cursor, mut known) = begin(&path, options, &mut printer)?;
    // So that a log that grows as fast as it is read has an end.
    let newest = if options.is_followed { None } else { Newest::find(&path)? };
    let mut is_last_round = false;
    loop {
        let mut is_at_newest = false;
        if let Some(cursor) = &mut cursor {
            let end = newest.as_ref().filter(|newest| newest.file.identity == cursor.file.identity);
            is_at_newest = end.is_some();
            cursor.show(&mut printer, end.map_or(u64::MAX, |end| end.size))?;
        }
        if printer.is_full() || is_at_newest {
            break;
        }
        if let Some(file) = files::next(&path, cursor.as_ref().map(|cursor| &cursor.file))? {
            if let Some(cursor) = &mut cursor {
                // It is complete only now that there is a next one.
                cursor.show(&mut printer, u64::MAX)?;
                printer.end_file(cursor)?;
            }
            let idx = known.iter().position(|known| known.identity == file.identity);
            if idx.is_none() {
                // What comes from here on is newer than all starts; let removed files go.
                known.clear();
            }
            cursor = Some(Cursor::new(file, idx.unwrap_or(usize::MAX), 0));
            continue;
        }
        let Some(watch) = &watch else { break };
        if is_last_round {
            break;
        }
        printer.flush()?;
        is_last_round = is_over() || !directory.is_dir();
        if !is_last_round {
            watch.wait()?;
        }
    }
    if let Some(cursor) = &cursor {
        printer.end_file(cursor)?;
    } else if !options.is_followed && !printer.is_full() {
        return Err(missing());
    }
    printer.flush()?;
    Ok(Summary { n_skipped: printer.n_skipped })
}

/// The log that is meant by a path.
fn log_path(path: &Path) -> Result<PathBuf, LogError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let last = files::attempts(path)?.last().copied();
    Ok(files::attempt_file(path, last.unwrap_or_default()))
}

/// Where to begin, and the files of which the starts speak, which are held open so that they can be told apart.
fn begin(
    path: &Path,
    options: &Options<'_>,
    printer: &mut Printer<'_, impl Write, impl Write>,
) -> Result<(Option<Cursor>, Vec<LogFile>), LogError> {
    let Some(n) = options.tail else { return Ok((None, Vec::new())) };
    let chain = files::chain(path)?;
    printer.starts = tail::find(&chain, n, options.stream)?;
    let first = match options.stream {
        Some(stream) => printer.starts[stream.idx()],
        None => printer.starts[0].min(printer.starts[1]),
    };
    let Some(file) = chain.get(first.0) else { return Ok((None, chain)) };
    let again = file.file.try_clone().map_err(LogError::file("open again", &file.path))?;
    let file = LogFile { path: file.path.clone(), file: again, identity: file.identity };
    Ok((Some(Cursor::new(file, first.0, first.1)), chain))
}

/// The file that is being written, and what it held in the beginning.
struct Newest {
    file: LogFile,
    size: u64,
}

impl Newest {
    fn find(path: &Path) -> Result<Option<Self>, LogError> {
        match files::newest(path)? {
            Some(file) => Ok(Some(Self { size: file.size()?, file })),
            None => Ok(None),
        }
    }
}

/// A place in a file, with the bytes that come next.
struct Cursor {
    file: LogFile,
    /// Its index in the chain of which the starts speak.
    idx: usize,
    /// Bytes of the file before those in the buffer.
    offset: u64,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Cursor {
    fn new(file: LogFile, idx: usize, offset: u64) -> Self {
        Self { file, idx, offset, buffer: vec![0; BLOCK], begin: 0, end: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.begin..self.end]
    }

    fn position(&self) -> Position {
        (self.idx, self.offset)
    }

    fn consume(&mut self, n: usize) {
        self.begin += n;
        self.offset += n as u64;
    }

    /// Reads more, up to a size of the file; false when there is nothing now.
    fn fill(&mut self, size: u64) -> Result<bool, LogError> {
        self.buffer.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        let offset = self.offset + self.end as u64;
        let room = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let free = &mut self.buffer[self.end..];
        let room = room.min(free.len());
        loop {
            match self.file.file.read_at(&mut free[..room], offset) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => {
                    let n = result.map_err(LogError::file("read", &self.file.path))?;
                    self.end += n;
                    return Ok(n > 0);
                }
            }
        }
    }

    /// Shows what is there, up to a size of the file.
    fn show(&mut self, printer: &mut Printer<'_, impl Write, impl Write>, size: u64) -> Result<(), LogError> {
        while !printer.is_full() {
            let bytes = self.bytes();
            let n = match printer.state {
                State::LineStart => match parse(bytes) {
                    Parsed::Head(head) => {
                        printer.begin_record(&head, &bytes[..head.time_length], self.position())?;
                        head.length
                    }
                    Parsed::Foreign => {
                        printer.n_skipped += 1;
                        printer.state = State::Foreign;
                        0
                    }
                    Parsed::Unfinished if self.fill(size)? => continue,
                    Parsed::Unfinished => return Ok(()),
                },
                _ if bytes.is_empty() => {
                    if self.fill(size)? {
                        continue;
                    }
                    return Ok(());
                }
                _ => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    printer.content(&bytes[..end.unwrap_or(bytes.len())], end.is_some())?;
                    end.map_or(bytes.len(), |end| end + 1)
                }
            };
            self.consume(n);
        }
        Ok(())
    }
}

/// Where in a line the reading is.
#[derive(Debug, Clone, Copy)]
enum State {
    LineStart,
    Content { stream: Stream, is_partial: bool, is_shown: bool },
    Foreign,
}

/// Hands records on.
struct Printer<'a, O, E> {
    options: &'a Options<'a>,
    out: &'a mut O,
    err: &'a mut E,
    /// Where each stream begins to be shown.
    starts: [Position; 2],
    state: State,
    /// A line of the stream has been begun and not ended.
    is_in_line: [bool; 2],
    text: Text,
    n_left: Option<u64>,
    n_skipped: u64,
}

impl<'a, O: Write, E: Write> Printer<'a, O, E> {
    fn new(options: &'a Options<'a>, out: &'a mut O, err: &'a mut E) -> Self {
        let starts = [(0, 0); 2];
        let (n_left, is_in_line) = (options.limit_bytes, [false; 2]);
        let (state, text) = (State::LineStart, Text::default());
        Self { options, out, err, starts, state, is_in_line, text, n_left, n_skipped: 0 }
    }

    fn is_full(&self) -> bool {
        self.n_left == Some(0)
    }

    fn begin_record(&mut self, head: &Head, time: &[u8], position: Position) -> Result<(), LogError> {
        let (stream, is_partial) = (head.stream, head.is_partial);
        let is_shown = self.options.stream.is_none_or(|only| only == stream)
            && self.options.since.is_none_or(|since| head.time >= since)
            && position >= self.starts[stream.idx()];
        self.state = State::Content { stream, is_partial, is_shown };
        if is_shown && self.is_json() {
            return self.hand_on(stream, json::head(time, stream).as_bytes());
        }
        if is_shown && !self.is_in_line[stream.idx()] {
            self.is_in_line[stream.idx()] = true;
            if self.options.has_timestamps {
                self.emit(stream, time)?;
                self.emit(stream, b" ")?;
            }
        }
        Ok(())
    }

    /// A part of the content of a line, and whether the line ends with it.
    fn content(&mut self, bytes: &[u8], is_end: bool) -> Result<(), LogError> {
        let state = self.state;
        if is_end {
            self.state = State::LineStart;
        }
        let State::Content { stream, is_partial, is_shown: true } = state else { return Ok(()) };
        self.emit(stream, bytes)?;
        if is_end && self.is_json() {
            return self.end_record(stream, is_partial);
        }
        if is_end && !is_partial {
            self.is_in_line[stream.idx()] = false;
            self.emit(stream, b"\n")?;
        }
        Ok(())
    }

    /// Nothing comes after what is left of a file: a head that was cut off is no record, content that was is shown.
    fn end_file(&mut self, rest: &Cursor) -> Result<(), LogError> {
        match self.state {
            State::LineStart if !rest.bytes().is_empty() && !self.is_full() => self.n_skipped += 1,
            // Its line does not end, whatever the tag says.
            State::Content { stream, is_shown: true, .. } if self.is_json() => {
                self.end_record(stream, true)?
            }
            _ => {}
        }
        self.state = State::LineStart;
        Ok(())
    }

    /// Ends a line of JSON.
    fn end_record(&mut self, stream: Stream, is_partial: bool) -> Result<(), LogError> {
        let Form::Json { container } = self.options.form else { return Ok(()) };
        let mut end = if is_partial { String::new() } else { self.text.end(stream) };
        end.push_str(&json::tail(is_partial, container));
        self.hand_on(stream, end.as_bytes())
    }

    fn is_json(&self) -> bool {
        self.options.form != Form::Text
    }

    fn emit(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), LogError> {
        let mut bytes = bytes;
        if let Some(n_left) = &mut self.n_left {
            bytes = &bytes[..usize::try_from(*n_left).unwrap_or(usize::MAX).min(bytes.len())];
            *n_left -= bytes.len() as u64;
        }
        if self.is_json() {
            let text = self.text.part(stream, bytes);
            return self.hand_on(stream, text.as_bytes());
        }
        self.hand_on(stream, bytes)
    }

    fn hand_on(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), LogError> {
        match self.options.form {
            Form::Text if stream == Stream::Stderr => self.err.write_all(bytes).map_err(receiver(stream)),
            _ => self.out.write_all(bytes).map_err(receiver(Stream::Stdout)),
        }
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.out.flush().map_err(receiver(Stream::Stdout))?;
        self.err.flush().map_err(receiver(Stream::Stderr))
    }
}

fn receiver(stream: Stream) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError::Receiver { stream, source }
}
