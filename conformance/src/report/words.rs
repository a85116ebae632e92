//! Words that several formats share.

use super::model::CheckReport;
use crate::evidence::Fact;

/// A fact in one line: `net.a = 4026532187  [witness a: stat /proc/self/ns/net]`.
#[must_use]
pub fn fact(fact: &Fact) -> String {
    format!("{} = {}  [{}]", fact.key, fact.value, fact.source)
}

/// The word of a verdict for people: a failed MUST is loud, a failed SHOULD says that it is one.
#[must_use]
pub fn mark(check: &CheckReport) -> &'static str {
    match (check.verdict.as_str(), check.level.as_str()) {
        ("pass", _) => "pass",
        ("fail", "MUST") => "FAIL",
        ("fail", _) => "fail (SHOULD)",
        ("skip", _) => "skip",
        _ => "inconclusive",
    }
}

/// A word of a command line as a shell reads it.
#[must_use]
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Seconds with the digits that a reader can use.
#[must_use]
pub fn seconds(ms: u64) -> String {
    format!("{:.1} s", std::time::Duration::from_millis(ms).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_word_as_it_was() {
        assert_eq!(quoted("target/release/runc"), "target/release/runc");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
