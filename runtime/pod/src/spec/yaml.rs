//! YAML, with limits, and with words for people where the parser has words for programmers.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny};
use serde_json::Value;
use serde_path_to_error::Segment;
use serde_saphyr::{Error, MessageFormatter, Options, SnippetMode, Spanned, UserMessageFormatter};

use super::MAX_BYTES;
use super::error::Offence;
use super::locate::{Locate, Place, Target, reached};

/// Reads a document, the only one of the text.
pub(super) fn read(text: &str) -> Result<Value, Offence> {
    let text = without_empty_end(text);
    let mut track = serde_path_to_error::Track::new();
    let result = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
        Value::deserialize(serde_path_to_error::Deserializer::new(yaml, &mut track))
    });
    result.map_err(|source| {
        if matches!(source.without_snippet(), Error::MultipleDocuments { .. }) {
            let reason = "holds several YAML documents; write one Pod per manifest".to_owned();
            return Offence::Syntax { path: "manifest".to_owned(), reason };
        }
        let options = serde_saphyr::render_options! { formatter: &Words, snippets: SnippetMode::Off };
        Offence::Syntax { path: reached(&track.path()), reason: source.render_with_options(options) }
    })
}

/// Where a value of a text that [`read`] reads is written.
pub(super) fn locate(text: &str, path: &[Segment]) -> Option<Place> {
    let text = without_empty_end(text);
    let walk = |yaml: serde_saphyr::Deserializer<'_, '_>| Locate::<Node>::new(path).deserialize(yaml);
    serde_saphyr::with_deserializer_from_str_with_options(text, options(), walk).ok().flatten()
}

/// The parser tells the place of any value that asks for it.
struct Node;

impl Target for Node {
    fn arrive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Place>, D::Error> {
        let node = Spanned::<IgnoredAny>::deserialize(deserializer)?;
        Ok(Some((node.referenced.line(), node.referenced.column())))
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_events: 200_000,
            max_nodes: 100_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: 1_000,
            // What aliases repeat counts as well, so this bounds the memory that a bomb takes.
            max_total_scalar_bytes: 4 * MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        // A name of a field that is a number or yes must be quoted.
        no_schema: true,
        with_snippet: false,
    }
}

/// Without a last document that is empty: `---` at the end is a habit, and no second pod.
fn without_empty_end(text: &str) -> &str {
    let mut end = text.len();
    for line in text.split_inclusive('\n').rev() {
        end -= line.len();
        match line.trim_end() {
            "---" => return text.get(..end).unwrap_or(text),
            line if line.is_empty() || line.starts_with('#') => {}
            _ => break,
        }
    }
    text
}

/// The parser's messages, but for those that speak of its events.
struct Words;

impl MessageFormatter for Words {
    fn format_message<'a>(&self, error: &'a Error) -> Cow<'a, str> {
        match error {
            Error::QuotingRequired { value, .. } => {
                format!("{value:?} must be in quotes: it is a number or a boolean, and a text belongs here")
                    .into()
            }
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the field {key:?} is written twice; keep one").into()
            }
            error => UserMessageFormatter.format_message(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_last_document_is_left_away() {
        for (text, kept) in [
            ("a: 1\n---\n", "a: 1\n"),
            ("a: 1\n---\n# end\n\n", "a: 1\n"),
            ("a: 1\n---", "a: 1\n"),
            ("---\n", ""),
            ("---\na: 1\n", "---\na: 1\n"),
            ("a: |\n  x\n  ---\n", "a: |\n  x\n  ---\n"),
            ("a: 1\n# ---\n", "a: 1\n# ---\n"),
            ("", ""),
        ] {
            assert_eq!(without_empty_end(text), kept, "{text:?}");
        }
    }
}
