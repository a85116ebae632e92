//! Errors of a manifest: all that is wrong with it at once, each with the path of the field.

use std::fmt;

/// Why a manifest was refused. It displays as one line per offence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// What is wrong, in the order of the fields; at least one.
    pub offences: Vec<Offence>,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, offence) in self.offences.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{offence}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SpecError {}

impl From<Offence> for SpecError {
    fn from(offence: Offence) -> Self {
        Self { offences: vec![offence] }
    }
}

/// One thing that is wrong with a manifest. Values are shown with their odd characters escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Offence {
    /// The text is longer than any manifest.
    #[error("manifest: has {bytes} bytes, more than the {max} that are read")]
    Size {
        /// Length of the text.
        bytes: usize,
        /// [`MAX_BYTES`](super::MAX_BYTES).
        max: usize,
    },
    /// The text is neither YAML nor JSON, or a value has the wrong type.
    #[error("{path}: {reason}")]
    Syntax {
        /// Field, or `manifest` for the whole text.
        path: String,
        /// What the parser says, with line and column where it knows them.
        reason: String,
    },
    /// The Kubernetes API has no such field.
    #[error("{path}: the Kubernetes API (v1, 1.35) has no such field; correct its name or remove it")]
    Unknown {
        /// Field.
        path: String,
    },
    /// The API has it and podrt does not.
    #[error("{path}: not supported: {reason}")]
    Unsupported {
        /// Field.
        path: String,
        /// Why, and what to write instead.
        reason: String,
    },
    /// A value that the API or the kernel does not allow.
    #[error("{path}: {reason}")]
    Invalid {
        /// Field.
        path: String,
        /// What is wrong with it, with the value.
        reason: String,
    },
    /// The field must be there.
    #[error("{path}: required, and missing")]
    Missing {
        /// Field.
        path: String,
    },
}

impl Offence {
    /// The path of the field, as `spec.containers[0].image`.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Size { .. } => "manifest",
            Self::Syntax { path, .. }
            | Self::Unknown { path }
            | Self::Unsupported { path, .. }
            | Self::Invalid { path, .. }
            | Self::Missing { path } => path,
        }
    }
}

/// Collects the offences of one manifest, so that all are told together.
#[derive(Debug, Default)]
pub(super) struct Offences {
    pub(super) list: Vec<Offence>,
}

impl Offences {
    /// A value that is not allowed.
    pub(super) fn invalid(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.list.push(Offence::Invalid { path: path.into(), reason: reason.into() });
    }

    /// A field, or one of its values, that podrt does not have.
    pub(super) fn unsupported(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.list.push(Offence::Unsupported { path: path.into(), reason: reason.into() });
    }

    /// A field that must be there.
    pub(super) fn missing(&mut self, path: impl Into<String>) {
        self.list.push(Offence::Missing { path: path.into() });
    }

    /// Refuses each of some fields below `at` that is set: name, whether it is, reason.
    pub(super) fn refuse(&mut self, at: &str, fields: &[(&str, bool, &str)]) {
        for (name, _, reason) in fields.iter().filter(|(_, is_set, _)| *is_set) {
            self.unsupported(format!("{at}.{name}"), *reason);
        }
    }

    /// Refuses a text that a C string cannot hold: no program and no path ever gets it.
    pub(super) fn check_no_nul(&mut self, path: impl FnOnce() -> String, text: &str) {
        if text.contains('\0') {
            self.invalid(path(), format!("{text:?} contains a NUL, which no argument, variable or path can"));
        }
    }

    /// One of the words of `words`, the first for none.
    pub(super) fn word<T: Copy>(&mut self, path: &str, text: Option<&str>, words: &[(&str, T)]) -> Option<T> {
        let found = match text {
            None => words.first(),
            Some(text) => words.iter().find(|(word, _)| *word == text),
        };
        if found.is_none() {
            let known: Vec<&str> =
                words.iter().map(|(word, _)| *word).filter(|word| !word.is_empty()).collect();
            self.invalid(path, format!("{:?} is none of {}", text.unwrap_or_default(), known.join(", ")));
        }
        found.map(|(_, value)| *value)
    }
}

/// True for a list that is there and holds something.
pub(super) fn is_filled<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

/// True for a text that is there and is not empty.
pub(super) fn is_written(text: Option<&String>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

/// A name of a field as it is shown: without the power over a terminal that control characters have, and never nothing.
pub(super) fn visible(name: &str) -> String {
    if name.is_empty() {
        return "\"\"".to_owned();
    }
    let show = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    name.chars().map(show).collect()
}
