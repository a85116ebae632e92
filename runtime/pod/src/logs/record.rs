//! The head of a record: `TIME STREAM TAG `, and the content up to the end of the line.

use std::time::SystemTime;

use jiff::Timestamp;
use runtime::state::time::rfc3339;

use super::Stream;

/// The most content that a record has, as in containerd; a longer line has several.
pub(super) const CONTENT_MAX: usize = 16 * 1024;
/// More than the longest head: a time with a zone has 35 bytes, a stream 6, and further tags may follow the first.
pub(super) const HEAD_MAX: usize = 128;

/// Writes a head.
pub(super) fn head(now: SystemTime, stream: Stream, is_partial: bool) -> String {
    let mut head = rfc3339(now);
    head.push_str(match (stream, is_partial) {
        (Stream::Stdout, false) => " stdout F ",
        (Stream::Stdout, true) => " stdout P ",
        (Stream::Stderr, false) => " stderr F ",
        (Stream::Stderr, true) => " stderr P ",
    });
    head
}

/// The head of a record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Its time, and how many bytes of the line that is.
    pub(super) time: SystemTime,
    pub(super) time_length: usize,
    pub(super) stream: Stream,
    /// The line goes on in the next record of the stream.
    pub(super) is_partial: bool,
    /// Bytes up to the content.
    pub(super) length: usize,
}

/// What the beginning of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A record.
    Head(Head),
    /// More bytes are needed to tell.
    Unfinished,
    /// No record.
    Foreign,
}

/// Reads the head from the bytes at the beginning of a line.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let bytes = &bytes[..bytes.len().min(HEAD_MAX)];
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let (Some(time), Some(stream), Some(tag), Some(content)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        let is_all = line.len() < bytes.len() || bytes.len() == HEAD_MAX;
        return if is_all { Parsed::Foreign } else { Parsed::Unfinished };
    };
    let stream = match stream {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return Parsed::Foreign,
    };
    // Of several tags, the first tells whether the line goes on.
    let is_partial = match tag.split(|byte| *byte == b':').next() {
        Some(b"P") => true,
        Some(b"F") => false,
        _ => return Parsed::Foreign,
    };
    let Some(moment) = std::str::from_utf8(time).ok().and_then(|text| text.parse::<Timestamp>().ok()) else {
        return Parsed::Foreign;
    };
    let length = line.len() - content.len();
    Parsed::Head(Head { time: moment.into(), time_length: time.len(), stream, is_partial, length })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn heads_of_other_writers_are_understood() {
        let time = UNIX_EPOCH + Duration::new(1_475_713_029, 669_794_202);
        for (line, length, is_partial) in [
            ("2016-10-06T00:17:09.669794202Z stdout F x", 40, false),
            ("2016-10-06T02:17:09.669794202+02:00 stdout P x\n", 45, true),
            ("2016-10-06T00:17:09.669794202Z stdout F:more \n", 45, false),
        ] {
            let Parsed::Head(found) = parse(line.as_bytes()) else { panic!("{line:?}") };
            assert_eq!((found.time, found.length), (time, length), "{line:?}");
            assert_eq!((found.stream, found.is_partial), (Stream::Stdout, is_partial), "{line:?}");
        }
        // Go's RFC3339Nano leaves the zeros at the end away.
        assert!(matches!(parse(b"2016-10-06T00:17:09Z stderr F "), Parsed::Head(_)));
    }

    #[test]
    fn what_is_written_is_read() {
        let time = UNIX_EPOCH + Duration::new(1_767_225_599, 7);
        for stream in Stream::ALL {
            for is_partial in [false, true] {
                let text = head(time, stream, is_partial);
                let expected = Head { time, time_length: 30, stream, is_partial, length: text.len() };
                assert_eq!(parse(text.as_bytes()), Parsed::Head(expected));
                for end in 0..text.len() {
                    assert_eq!(parse(&text.as_bytes()[..end]), Parsed::Unfinished, "{end}");
                }
            }
        }
    }

    #[test]
    fn other_lines_are_foreign() {
        let long = "x".repeat(HEAD_MAX);
        for line in [
            "\n",
            "hello\n",
            &long,
            "2016-10-06T00:17:09Z stdout F\n",
            "2016-10-06T00:17:09Z stdin F x",
            "2016-10-06T00:17:09Z stdout X x",
            "2016-10-06T00:17:09Z stdout  x",
            "2016-10-06T00:17:09 stdout F x",
            "2016-13-06T00:17:09Z stdout F x",
            "yesterday stdout F x",
            " stdout F x",
        ] {
            assert_eq!(parse(line.as_bytes()), Parsed::Foreign, "{line:?}");
        }
        assert_eq!(parse(b"\xff\xfe stdout F x"), Parsed::Foreign);
        assert_eq!(parse(b""), Parsed::Unfinished);
    }
}
