//! The text format 0.0.4 by its grammar, and an exposition against the golden list.

use std::collections::{BTreeMap, BTreeSet};

use super::Res;

/// Names, types and labels of all that is exported.
const GOLDEN: &str = include_str!("../../src/metrics/golden.txt");

/// A line of an exposition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample<'a> {
    /// The name with its labels, as it stands in the text.
    pub(crate) series: &'a str,
    pub(crate) name: &'a str,
    /// In the order of the text, without escapes.
    pub(crate) labels: Vec<(&'a str, String)>,
    pub(crate) value: f64,
}

impl<'a> Sample<'a> {
    /// Takes no more than what the exporter writes: no spaces, no comma at the end, no time.
    pub(crate) fn parse(line: &'a str) -> Res<Self> {
        Self::find(line).ok_or_else(|| format!("no sample: {line:?}").into())
    }

    fn find(line: &'a str) -> Option<Self> {
        let (name, mut rest) = word(line)?;
        let mut labels: Vec<(&str, String)> = Vec::new();
        let mut before = '{';
        while let Some(inside) = rest.strip_prefix(before) {
            let (label, after) = word(inside)?;
            let (value, after) = quoted(after.strip_prefix("=\"")?)?;
            if labels.iter().any(|(other, _)| *other == label) {
                return None;
            }
            labels.push((label, value));
            (before, rest) = (',', after);
        }
        if !labels.is_empty() {
            rest = rest.strip_prefix('}')?;
        }
        let series = line.strip_suffix(rest)?;
        let value = rest.strip_prefix(' ')?.parse().ok()?;
        Some(Self { series, name, labels, value })
    }
}

/// The name with which a text begins, and what follows.
fn word(text: &str) -> Option<(&str, &str)> {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c| !is_inside(c)).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    word.starts_with(|c: char| !c.is_ascii_digit()).then_some((word, rest))
}

/// The value with which a text begins, up to its quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        value.push(match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => match chars.next()? {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            },
            c => c,
        });
    }
}

/// What an exposition has other than the golden list: families that are missing, are there twice or unknown, or are of another type, and
/// samples of another name or with other labels. Those that are standard for every process are no part of the list.
pub(crate) fn differences(text: &str) -> Res<Vec<String>> {
    let golden = GOLDEN.lines().map(|line| {
        let mut words = line.splitn(3, ' ');
        let family = words.next().zip(words.next()).zip(words.next());
        family
            .map(|((name, kind), labels)| (name, (kind, labels)))
            .ok_or_else(|| format!("the golden list has {line:?}"))
    });
    let golden: BTreeMap<&str, (&str, &str)> = golden.collect::<Result<_, _>>()?;
    let (mut found, mut offences) = (BTreeSet::new(), Vec::new());
    // Names of samples, each with its labels; of no family yet.
    let mut allowed: Option<BTreeMap<String, Vec<&str>>> = Some(BTreeMap::new());
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').ok_or_else(|| format!("no family: {line:?}"))?;
            if !found.insert(name) {
                offences.push(format!("{name} is there twice"));
            }
            allowed = match golden.get(name) {
                Some((wanted, labels)) => {
                    if kind != *wanted {
                        offences.push(format!("{name} is a {kind}, not a {wanted}"));
                    }
                    let labels: Vec<&str> = labels.split(',').filter(|label| !label.is_empty()).collect();
                    Some(series(name, kind, &labels))
                }
                None if name.starts_with("process_") => None,
                None => {
                    offences.push(format!("{name} is unknown"));
                    None
                }
            };
        } else if !line.starts_with("# HELP ") {
            let sample = Sample::parse(line)?;
            let labels: Vec<&str> = sample.labels.iter().map(|(name, _)| *name).collect();
            if allowed.as_ref().is_some_and(|allowed| allowed.get(sample.name) != Some(&labels)) {
                offences.push(format!("{} is not as its family is", sample.series));
            }
        }
    }
    let missing = golden.keys().filter(|name| !found.contains(*name));
    offences.extend(missing.map(|name| format!("{name} is missing")));
    Ok(offences)
}

/// The names of a family's samples, with their labels.
fn series<'a>(name: &str, kind: &str, labels: &[&'a str]) -> BTreeMap<String, Vec<&'a str>> {
    if kind != "histogram" {
        return BTreeMap::from([(name.to_owned(), labels.to_vec())]);
    }
    let bucket = (format!("{name}_bucket"), [labels, &["le"]].concat());
    let whole = ["sum", "count"].map(|end| (format!("{name}_{end}"), labels.to_vec()));
    std::iter::once(bucket).chain(whole).collect()
}
