//! YAML as kubectl reads it, with limits, and with words for people where the parser has words for programmers.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, MessageFormatter, Options, SnippetMode, UserMessageFormatter};

use super::MAX_BYTES;
use super::error::Offence;
use super::parse::tracked;

/// Parses into a type; fields that it does not have are added to `unknown`.
pub(super) fn parse<T: DeserializeOwned>(text: &str, unknown: &mut Vec<Offence>) -> Result<T, Offence> {
    let mut path = String::new();
    let text = without_empty_end(text);
    let result = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
        let (value, found) = tracked(yaml, unknown);
        path = found;
        value
    });
    result.map_err(|source| {
        if matches!(source.without_snippet(), Error::MultipleDocuments { .. }) {
            let reason = "holds several YAML documents; write one Pod per manifest".to_owned();
            return Offence::Syntax { path: "manifest".to_owned(), reason };
        }
        let options = serde_saphyr::render_options! { formatter: &Words, snippets: SnippetMode::Off };
        let path = if path.is_empty() { "manifest".to_owned() } else { path };
        Offence::Syntax { path, reason: source.render_with_options(options) }
    })
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
        // As kubectl has it: a number or yes where a text belongs must be quoted.
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
            Error::Unexpected { expected: "sequence start", .. } => "must be a list".into(),
            Error::Unexpected { expected: "mapping start", .. } => "must hold fields, as NAME: VALUE".into(),
            Error::InvalidScalar { ty: "boolean", .. } => "must be true or false".into(),
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
