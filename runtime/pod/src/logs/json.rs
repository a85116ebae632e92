//! Records as lines of JSON, for programs: `{"time":…,"stream":…,"log":…,"partial":…,"container":…}`.
//!
//! JSON holds text, and a program may write any bytes: what is no UTF-8 becomes U+FFFD. A character that is cut in two by the end
//! of a `P` record is whole in the record that goes on, or in none when there is no such record.

use super::Stream;

/// The text of records, which comes in parts.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// Of each stream, the beginning of a character whose end has not come yet.
    cut: [Vec<u8>; 2],
}

impl Text {
    /// A further part of a record's content, as it stands in a JSON string.
    pub(super) fn part(&mut self, stream: Stream, bytes: &[u8]) -> String {
        let cut = &mut self.cut[stream.idx()];
        cut.extend_from_slice(bytes);
        let rest = cut.split_off(cut.len() - beginning(cut));
        escape(&std::mem::replace(cut, rest))
    }

    /// What is left at the end of a line.
    pub(super) fn end(&mut self, stream: Stream) -> String {
        escape(&std::mem::take(&mut self.cut[stream.idx()]))
    }
}

/// What comes before the content of a record.
pub(super) fn head(time: &[u8], stream: Stream) -> String {
    format!(r#"{{"time":"{}","stream":"{stream}","log":""#, escape(time))
}

/// What comes after it; partial is one that its line does not end with.
pub(super) fn tail(is_partial: bool, container: &str) -> String {
    format!("\",\"partial\":{is_partial},\"container\":\"{}\"}}\n", escape(container.as_bytes()))
}

/// How many bytes at the end are the beginning of a character.
fn beginning(bytes: &[u8]) -> usize {
    let is_beginning = |n: &usize| {
        let end = &bytes[bytes.len() - n..];
        std::str::from_utf8(end).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    (1..=bytes.len().min(3)).find(is_beginning).unwrap_or(0)
}

/// What stands between the quotes of a JSON string.
fn escape(bytes: &[u8]) -> String {
    let mut text = serde_json::Value::from(String::from_utf8_lossy(bytes)).to_string();
    text.pop();
    text.split_off(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(escaped: &str) -> String {
        serde_json::from_str(&format!("\"{escaped}\"")).unwrap()
    }

    #[test]
    fn the_end_of_a_part_may_be_in_a_character() {
        for (bytes, n) in [
            (b"".as_slice(), 0),
            (b"a", 0),
            ("é".as_bytes(), 0),
            (b"a\xc3", 1),
            (b"a\xe2\x82", 2),
            (b"\xf0\x9f\xa6", 3),
            (b"\x82", 0),
            (b"\xff", 0),
            (b"\xe2\xe2", 1),
        ] {
            assert_eq!(beginning(bytes), n, "{bytes:?}");
        }
        let mut text = Text::default();
        let parts = [b"\"\xe2".as_slice(), b"\x82", b"\xac\x01\xc3"];
        let joined: String = parts.iter().map(|part| text.part(Stream::Stdout, part)).collect();
        assert_eq!(joined, "\\\"€\\u0001");
        assert_eq!(text.part(Stream::Stderr, b"x"), "x");
        assert_eq!(text.end(Stream::Stdout), "\u{fffd}");
        assert_eq!(text.end(Stream::Stdout), "");
    }

    proptest! {
        #[test]
        fn parts_make_the_same_text_as_the_whole(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                any::<String>().prop_map(String::into_bytes),
            ],
            size in 1..7usize,
        ) {
            let mut text = Text::default();
            let mut joined: String = bytes.chunks(size).map(|part| text.part(Stream::Stdout, part)).collect();
            joined.push_str(&text.end(Stream::Stdout));
            prop_assert_eq!(parsed(&joined), String::from_utf8_lossy(&bytes));
        }
    }
}
