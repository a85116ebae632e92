//! A metric by name, and the sheet on which a scrape collects samples.

use std::collections::HashMap;
use std::fmt::{Display, Write as _};

use super::collector::{Collector, Collectors};

/// What a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// A value of the moment.
    Gauge,
    /// Cumulative buckets, sum and count.
    Histogram,
}

/// A metric: its name, type, label names and help.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The whole name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The group that it belongs to.
    pub collector: Collector,
    /// Its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// One line for people.
    pub help: &'static str,
}

/// Samples of a scrape, in Prometheus' text format 0.0.4. Written at once: a thousand containers have a hundred thousand samples, and
/// to keep each as values takes many times the memory of its line.
#[derive(Debug)]
pub(crate) struct Sheet {
    wanted: Collectors,
    blocks: Vec<Block>,
    /// Where the block of a family is, by the address of the family.
    places: HashMap<usize, usize>,
}

/// All samples of a family.
#[derive(Debug)]
struct Block {
    family: &'static Family,
    /// Parts that are full.
    full: Vec<String>,
    text: String,
    n_series: usize,
}

/// Bytes of a part of the text. A text that grew as a whole would leave all its smaller selves behind in the heap.
const PART: usize = 64 << 10;
/// Room for the last line of a part.
const LINE: usize = 1 << 10;

/// Buckets of a histogram, not cumulative yet.
pub(crate) struct Distribution<'a> {
    /// Upper bounds; the last of `counts` is above all.
    pub(crate) bounds: &'a [f64],
    pub(crate) counts: &'a [u64],
    pub(crate) sum: f64,
}

impl Sheet {
    /// Takes samples of these collectors, and leaves others out.
    pub(crate) fn new(wanted: Collectors) -> Self {
        Self { wanted, blocks: Vec::new(), places: HashMap::new() }
    }

    /// Adds a sample of a counter or a gauge. `labels` are values, as many as the family has names.
    pub(crate) fn set(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        if let Some(block) = self.block(family) {
            block.sample("", labels, None, value);
        }
    }

    /// Adds a count. Prometheus takes it for a float, exact up to 2^53.
    pub(crate) fn count(&mut self, family: &'static Family, labels: &[&str], value: u64) {
        if let Some(block) = self.block(family) {
            block.sample("", labels, None, value);
        }
    }

    /// Adds a number of things.
    pub(crate) fn size(&mut self, family: &'static Family, labels: &[&str], value: usize) {
        self.count(family, labels, u64::try_from(value).unwrap_or(u64::MAX));
    }

    pub(crate) fn histogram(&mut self, family: &'static Family, labels: &[&str], shown: &Distribution<'_>) {
        let Some(block) = self.block(family) else { return };
        let mut below = 0;
        for (bound, count) in shown.bounds.iter().zip(shown.counts) {
            below += count;
            block.sample("_bucket", labels, Some(&bound.to_string()), below);
        }
        let all: u64 = shown.counts.iter().sum();
        block.sample("_bucket", labels, Some("+Inf"), all);
        block.sample("_sum", labels, None, shown.sum);
        block.sample("_count", labels, None, all);
    }

    /// All families by their names, in parts that follow each other.
    pub(crate) fn into_parts(mut self) -> impl Iterator<Item = String> {
        self.blocks.sort_by_key(|block| block.family.name);
        self.blocks.into_iter().flat_map(|Block { family, full, text, .. }| {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let (name, help) = (family.name, family.help);
            let head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
            std::iter::once(head).chain(full).chain([text])
        })
    }

    /// How many series there are, each bucket, sum and count of a histogram for one.
    pub(crate) fn n_series(&self) -> usize {
        self.blocks.iter().map(|block| block.n_series).sum()
    }

    /// `None` when its collector is not wanted.
    fn block(&mut self, family: &'static Family) -> Option<&mut Block> {
        if !self.wanted.has(family.collector) {
            return None;
        }
        let next = self.blocks.len();
        let place = *self.places.entry(std::ptr::from_ref(family).addr()).or_insert(next);
        if place == next {
            self.blocks.push(Block { family, full: Vec::new(), text: String::new(), n_series: 0 });
        }
        self.blocks.get_mut(place)
    }
}

impl Block {
    /// A line. `le` is the bound of a bucket.
    fn sample(&mut self, suffix: &str, labels: &[&str], le: Option<&str>, value: impl Display) {
        let Self { family, full, text, n_series } = self;
        // Whoever calls gives the same number each time, so that no node can make the difference.
        assert_eq!(family.labels.len(), labels.len(), "labels of {}", family.name);
        text.push_str(family.name);
        text.push_str(suffix);
        let pairs = family.labels.iter().zip(labels).chain(le.as_ref().map(|le| (&"le", le)));
        let mut before = '{';
        for (name, value) in pairs {
            text.push(before);
            text.push_str(name);
            text.push_str("=\"");
            escape(value, text);
            text.push('"');
            before = ',';
        }
        let end = if before == ',' { "}" } else { "" };
        let _infallible = writeln!(text, "{end} {value}");
        *n_series += 1;
        if text.len() >= PART {
            // The line that fills it is there as a whole.
            full.push(std::mem::replace(text, String::with_capacity(PART + LINE)));
        }
    }
}

/// Appends a label's value as the text format has it.
fn escape(value: &str, text: &mut String) {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        text.push_str(&rest[..at]);
        text.push_str(match rest.as_bytes()[at] {
            b'\n' => "\\n",
            b'"' => "\\\"",
            _ => "\\\\",
        });
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
}

#[expect(clippy::cast_precision_loss, reason = "a sample is a float; counts stay below 2^53 for centuries")]
pub(crate) fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    static SIZES: Family = family("sizes", Kind::Histogram, Collector::ZombieHistogram, "Sizes of pods");
    static FORKS: Family = family("forks_total", Kind::Counter, Collector::Forks, "Forks");

    const fn family(name: &'static str, kind: Kind, collector: Collector, help: &'static str) -> Family {
        Family { name, kind, collector, labels: &["pod"], help }
    }

    #[test]
    fn samples_become_text() {
        let fill = |wanted| {
            let mut sheet = Sheet::new(wanted);
            sheet.count(&FORKS, &["a\"\n\\b"], 3);
            let shown = Distribution { bounds: &[1.0, 2.0], counts: &[4, 1, 2], sum: 9.5 };
            sheet.histogram(&SIZES, &["p"], &shown);
            sheet
        };
        assert_eq!(fill(Collectors::NONE).n_series(), 0);
        assert_eq!(fill(Collectors::NONE.with(Collector::Forks)).n_series(), 1);
        let sheet = fill(Collectors::ALL);
        assert_eq!(sheet.n_series(), 6);
        let text: String = sheet.into_parts().collect();
        assert_eq!(
            text,
            "# HELP forks_total Forks\n# TYPE forks_total counter\nforks_total{pod=\"a\\\"\\n\\\\b\"} 3\n\
             # HELP sizes Sizes of pods\n# TYPE sizes histogram\nsizes_bucket{pod=\"p\",le=\"1\"} 4\n\
             sizes_bucket{pod=\"p\",le=\"2\"} 5\nsizes_bucket{pod=\"p\",le=\"+Inf\"} 7\nsizes_sum{pod=\"p\"} 9.5\n\
             sizes_count{pod=\"p\"} 7\n"
        );
    }
}
