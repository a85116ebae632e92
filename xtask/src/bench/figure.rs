//! Figures of measurements in a VM, and how they come from times.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::bench::SCHEMA;
use crate::bench::statistics::Summary;

/// The name of the ratio to the first of many.
pub(crate) const FIRST: &str = "first";
/// Of this many, so many are the first and the last: a single one says little.
const GROWTH_SHARE: usize = 20;

/// Where it was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) n_cpus: usize,
    /// How the VM was executed: `kvm` or `tcg`.
    pub(crate) engine: String,
}

/// What the file of a measurement in a VM begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    schema: u32,
    bench: String,
    kernel: String,
    machine: Machine,
    /// A short run, which shows that everything works and not what it costs.
    is_quick: bool,
    /// Version by name of what was measured beside.
    peers: BTreeMap<String, String>,
}

impl Head {
    pub(crate) fn new(
        bench: &str,
        kernel: &str,
        machine: Machine,
        is_quick: bool,
        peers: BTreeMap<String, String>,
    ) -> Self {
        let (bench, kernel) = (bench.to_owned(), kernel.to_owned());
        Self { schema: SCHEMA, bench, kernel, machine, is_quick, peers }
    }

    /// Where a file was measured, and with what.
    pub(crate) fn sentence(&self) -> String {
        let Self { kernel, machine: Machine { cpu, n_cpus, engine }, .. } = self;
        let mut text = format!("Linux {kernel} in a VM ({engine}), {cpu}, {n_cpus} CPUs.");
        for (name, version) in &self.peers {
            let _infallible = write!(text, " {name} {version}.");
        }
        if self.is_quick {
            text += " **A quick run: too short for its figures to mean much.**";
        }
        text
    }
}

/// One figure. What was not available has no values, and says why.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) subject: String,
    /// Of the values: `ns` or `bytes`.
    pub(crate) unit: String,
    pub(crate) median: Option<f64>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    /// Values that the median is of.
    pub(crate) runs: usize,
    /// By the other subject: the median of the ratios of the same rounds.
    pub(crate) ratio: BTreeMap<String, f64>,
    /// By the other subject: 95 % interval of that median.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) ratio_interval: BTreeMap<String, [f64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unavailable: Option<String>,
}

impl Row {
    /// A figure without values.
    pub(crate) fn new(case: &str, subject: &str, unit: &str) -> Self {
        Self { case: case.to_owned(), subject: subject.to_owned(), unit: unit.to_owned(), ..Self::default() }
    }

    /// Gives it its values.
    ///
    /// # Errors
    /// There are none.
    pub(crate) fn with(mut self, values: impl IntoIterator<Item = f64>) -> Result<Self> {
        let values = Summary::of(values).with_context(|| format!("no values of {}", self.case))?;
        (self.median, self.min, self.max) = (Some(values.median), Some(values.min), Some(values.max));
        self.runs = values.n;
        Ok(self)
    }

    /// The ratio to another subject, with its interval.
    pub(crate) fn ratio_to(&self, other: &str) -> Option<String> {
        let ratio = self.ratio.get(other)?;
        Some(match self.ratio_interval.get(other) {
            Some([low, high]) => format!("{ratio:.2} ({low:.2}-{high:.2})"),
            None => format!("{ratio:.2}"),
        })
    }

    /// Adds the ratio to another subject, of pairs of its own value and that of the other.
    pub(crate) fn compare(&mut self, other: &str, pairs: impl IntoIterator<Item = (f64, f64)>) {
        let ratios = pairs.into_iter().map(|(own, its)| own / its);
        if let Some(summary) = Summary::of(ratios) {
            // Digits below a hundredth of a percent mean nothing.
            let round = |value: f64| (value * 1e4).round() / 1e4;
            self.ratio.insert(other.to_owned(), round(summary.median));
            self.ratio_interval.insert(other.to_owned(), summary.interval.map(round));
        }
    }
}

/// The rows of a case, from times by subject and round: each against each other, by the ratios of the same rounds.
///
/// # Errors
/// A subject without times.
pub(crate) fn by_rounds(case: &str, subjects: &BTreeMap<&str, BTreeMap<u32, f64>>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (subject, rounds) in subjects {
        let mut row = Row::new(case, subject, "ns").with(rounds.values().copied())?;
        for (other, theirs) in subjects.iter().filter(|(other, _)| *other != subject) {
            row.compare(other, rounds.iter().filter_map(|(round, ns)| Some((*ns, *theirs.get(round)?))));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The last of many, and their ratio to the first.
///
/// # Errors
/// There are none.
pub(crate) fn last_against_first(case: &str, subject: &str, all: &[f64]) -> Result<Row> {
    let share = all.len().div_ceil(GROWTH_SHARE);
    let (first, last) = (&all[..share], &all[all.len() - share..]);
    let mut row = Row::new(case, subject, "ns").with(last.iter().copied())?;
    // Not pairs by nature: all against all, so that none is chosen.
    let pairs = last.iter().flat_map(|last| first.iter().map(|first| (*last, *first)));
    row.compare(FIRST, pairs);
    // These ratios are not independent, so that the interval of their median would be too narrow.
    row.ratio_interval.clear();
    Ok(row)
}
