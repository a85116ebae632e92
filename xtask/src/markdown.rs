//! Markdown made from figures: tables, templates, and parts of written documents.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::workspace;

/// Documents with parts that are made from figures.
const DOCUMENTS: [&str; 4] = ["README.md", "runtime/README.md", "exporter/README.md", "docs/crash-safety.md"];

/// A text with its `{{names}}` replaced.
pub(crate) fn fill(template: &str, parts: &[(&str, String)]) -> String {
    parts.iter().fold(template.to_owned(), |text, (name, part)| {
        text.replace(&format!("{{{{{name}}}}}"), part.trim_end())
    })
}

/// As [`fill`], where parts that have nothing to say leave no gap.
pub(crate) fn fill_closely(template: &str, parts: &[(&str, String)]) -> String {
    let mut text = fill(template, parts);
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    text
}

/// A table with a head.
pub(crate) fn table(head: &[&str], lines: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for line in lines {
        let _infallible = writeln!(text, "| {} |", line.join(" | "));
    }
    text
}

/// A cell that may have nothing to show.
pub(crate) fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

/// Something that is asked of a figure.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) what: String,
    /// The figure in words.
    pub(crate) said: Option<String>,
    pub(crate) value: Option<f64>,
    /// The most that is allowed.
    pub(crate) limit: f64,
}

/// The table of what is asked, and the answer of the figures.
pub(crate) fn asked(lines: impl IntoIterator<Item = Asked>) -> String {
    let line = |Asked { what, said, value, limit }| {
        let met = value.map_or("unknown", |value: f64| if value <= limit { "yes" } else { "no" });
        vec![what, said.unwrap_or_else(|| "not measured".to_owned()), met.to_owned()]
    };
    table(&["asked", "measured", "met"], lines.into_iter().map(line))
}

/// The text with the part of this name replaced, which stands between `<!-- NAME -->` and `<!-- end of NAME -->`; `None` when
/// there is no such part.
fn replaced(text: &str, name: &str, part: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (head, rest) = text.split_once(&begin)?;
    let (_, tail) = rest.split_once(&end)?;
    Some(format!("{head}{begin}{}\n{end}{tail}", part.trim_end()))
}

/// Puts a part into the documents of the repository that have a place for it, when the figures are those of the repository.
pub(crate) fn put(figures: &Path, name: &str, part: &str) -> Result<()> {
    let recorded = workspace::root().join("docs").join(format!("{name}.json"));
    if fs::canonicalize(figures).ok() != fs::canonicalize(recorded).ok() {
        return Ok(());
    }
    for document in DOCUMENTS {
        let path = workspace::root().join(document);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {document}"))?;
        if let Some(new) = replaced(&text, name, part) {
            fs::write(&path, new).with_context(|| format!("cannot write {document}"))?;
        }
    }
    Ok(())
}

/// Whether the documents of the repository have this part as it is; at least one must have it.
#[cfg(test)]
pub(crate) fn has(name: &str, part: &str) -> bool {
    let texts = DOCUMENTS.map(|document| fs::read_to_string(workspace::root().join(document)).unwrap());
    let mut pairs = texts.iter().filter_map(|text| Some((text, replaced(text, name, part)?))).peekable();
    pairs.peek().is_some() && pairs.all(|(text, new)| *text == new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced_between_its_marks() {
        let text = "before\n<!-- x -->\nold\nlines\n<!-- end of x -->\nafter\n";
        let new = replaced(text, "x", "| new |\n").unwrap();
        assert_eq!(new, "before\n<!-- x -->\n| new |\n<!-- end of x -->\nafter\n");
        assert_eq!(replaced(&new, "x", "| new |\n").as_deref(), Some(new.as_str()));
        assert_eq!(replaced(text, "y", "z"), None);
        assert_eq!(replaced("<!-- x -->\nno end", "x", "z"), None);
    }
}
