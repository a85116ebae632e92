//! What the two witnesses of a check saw, as plain values that can be stored and judged again.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A number of lost records, in words: `an unknown number` when it could not be read (`u64::MAX`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost(pub u64);

impl Lost {
    /// Stands for a number that could not be read.
    pub const UNKNOWN: Self = Self(u64::MAX);

    /// With what was lost: `12 records`, `1 record`, `an unknown number of records`.
    #[must_use]
    pub fn of(self, what: &str) -> String {
        match self {
            Self::UNKNOWN => format!("{self} of {what}s"),
            Self(1) => format!("{self} {what}"),
            _ => format!("{self} {what}s"),
        }
    }

    /// What was lost since an earlier number; unknown when either is.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        match (self, before) {
            (Self::UNKNOWN, _) | (_, Self::UNKNOWN) => Self::UNKNOWN,
            (Self(now), Self(before)) => Self(now.saturating_sub(before)),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UNKNOWN => to.write_str("an unknown number"),
            Self(number) => number.fmt(to),
        }
    }
}

/// One measured value with its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What was measured: `net.a` is the network namespace of container a. A key that both witnesses use is
    /// the same measurement, and must have the same value.
    pub key: String,
    /// The value.
    pub value: Value,
    /// Where it comes from: a hook with its mechanism, a file, a call.
    pub source: String,
}

/// Everything that a check has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Seen by the program inside, by plain reads on the node, or told by the runtime.
    pub inside: Vec<Fact>,
    /// Seen by the kernel: its trace, or its own records read from outside.
    pub kernel: Vec<Fact>,
    /// Lines of the trace that carry the kernel's side, for people.
    pub trace: Vec<String>,
    /// Records of this scope that were lost; `u64::MAX` when their number is not known.
    pub events_lost: u64,
    /// Part of the requirement that this subject refuses with an error: skipped, with this reason.
    pub refused: Option<String>,
}

impl Evidence {
    /// Adds a fact of the witness inside.
    pub fn inside(&mut self, key: &str, value: impl Into<Value>, source: impl Into<String>) {
        self.inside.push(Fact { key: key.to_owned(), value: value.into(), source: source.into() });
    }

    /// Adds a fact of the kernel.
    pub fn kernel(&mut self, key: &str, value: impl Into<Value>, source: impl Into<String>) {
        self.kernel.push(Fact { key: key.to_owned(), value: value.into(), source: source.into() });
    }

    /// Adds a fact of the kernel if the kernel gave it.
    pub fn kernel_if(&mut self, key: &str, value: Option<impl Into<Value>>, source: impl Into<String>) {
        if let Some(value) = value {
            self.kernel(key, value, source);
        }
    }
}

/// One witness's facts, as a rule reads them.
#[derive(Debug, Clone, Copy)]
pub struct Side<'e> {
    facts: &'e [Fact],
}

/// A fact that a rule needs and the evidence lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap(pub String);

impl<'e> Side<'e> {
    /// The facts of one side.
    #[must_use]
    pub fn new(facts: &'e [Fact]) -> Self {
        Self { facts }
    }

    /// A fact's value.
    ///
    /// # Errors
    /// When the evidence has no such fact.
    pub fn value(&self, key: &str) -> Result<&'e Value, Gap> {
        self.facts
            .iter()
            .find(|fact| fact.key == key)
            .map(|fact| &fact.value)
            .ok_or_else(|| Gap(key.to_owned()))
    }

    /// A number.
    ///
    /// # Errors
    /// When it is absent or no unsigned number.
    pub fn number(&self, key: &str) -> Result<u64, Gap> {
        self.value(key)?.as_u64().ok_or_else(|| Gap(format!("{key} (a number)")))
    }

    /// A signed number.
    ///
    /// # Errors
    /// When it is absent or no number.
    pub fn signed(&self, key: &str) -> Result<i64, Gap> {
        self.value(key)?.as_i64().ok_or_else(|| Gap(format!("{key} (a number)")))
    }

    /// A truth value.
    ///
    /// # Errors
    /// When it is absent or no truth value.
    pub fn flag(&self, key: &str) -> Result<bool, Gap> {
        self.value(key)?.as_bool().ok_or_else(|| Gap(format!("{key} (true or false)")))
    }

    /// A text.
    ///
    /// # Errors
    /// When it is absent or no text.
    pub fn text(&self, key: &str) -> Result<&'e str, Gap> {
        self.value(key)?.as_str().ok_or_else(|| Gap(format!("{key} (a text)")))
    }

    /// A list of numbers.
    ///
    /// # Errors
    /// When it is absent or has another shape.
    pub fn numbers(&self, key: &str) -> Result<Vec<u64>, Gap> {
        self.value(key)?
            .as_array()
            .and_then(|list| list.iter().map(Value::as_u64).collect())
            .ok_or_else(|| Gap(format!("{key} (a list of numbers)")))
    }

    /// A list of texts.
    ///
    /// # Errors
    /// When it is absent or has another shape.
    pub fn texts(&self, key: &str) -> Result<Vec<&'e str>, Gap> {
        self.value(key)?
            .as_array()
            .and_then(|list| list.iter().map(Value::as_str).collect())
            .ok_or_else(|| Gap(format!("{key} (a list of texts)")))
    }

    /// A list of numbers as a set.
    ///
    /// # Errors
    /// When it is absent or has another shape.
    pub fn set(&self, key: &str) -> Result<BTreeSet<u64>, Gap> {
        Ok(self.numbers(key)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_of_unknown_size_is_called_so() {
        assert_eq!(Lost(12).of("record"), "12 records");
        assert_eq!(Lost(1).of("record"), "1 record");
        assert_eq!(Lost::UNKNOWN.of("record"), "an unknown number of records");
        assert_eq!(format!("{} of its events", Lost::UNKNOWN), "an unknown number of its events");
    }

    #[test]
    fn no_part_of_an_unknown_loss_is_known() {
        assert_eq!(Lost(5).since(Lost(2)), Lost(3));
        assert_eq!(Lost(5).since(Lost::UNKNOWN), Lost::UNKNOWN);
        assert_eq!(Lost::UNKNOWN.since(Lost(5)), Lost::UNKNOWN);
        assert_eq!(Lost::UNKNOWN.since(Lost::UNKNOWN), Lost::UNKNOWN);
    }
}
