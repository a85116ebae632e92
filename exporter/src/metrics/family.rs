//! A metric by name, and the sheet on which a scrape collects samples.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::collector::{Collector, Collectors};
use crate::model::Names;

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
    /// The block that was written last: a sample is mostly of the same family as the one before, or of the next one.
    last: usize,
    /// The labels of the sample that is written now.
    labels: String,
}

/// All samples of a family.
#[derive(Debug)]
struct Block {
    family: &'static Family,
    /// Parts that are full.
    full: Vec<String>,
    text: String,
    /// Of a histogram, the label of each bucket.
    bounds: Vec<String>,
    n_series: usize,
}

/// Bytes of a part of the text. A text that grew as a whole would leave all its smaller selves behind in the heap.
const PART: usize = 64 << 10;
/// Room for the last line of a part.
const LINE: usize = 1 << 10;

/// The labels that every sample of a container begins with.
pub(super) const CONTAINER_LABELS: [&str; 3] = ["namespace", "pod", "container"];

/// The sheet, for one container: the names that all of its samples have are made text once.
#[derive(Debug)]
pub(crate) struct ContainerSheet<'a> {
    sheet: &'a mut Sheet,
    common: String,
}

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
        Self { wanted, blocks: Vec::new(), places: HashMap::new(), last: 0, labels: String::new() }
    }

    /// Takes the samples of one container.
    pub(crate) fn of(&mut self, names: &Names) -> ContainerSheet<'_> {
        let mut common = String::with_capacity(LINE);
        for (name, value) in CONTAINER_LABELS.iter().zip(names.labels()) {
            pair(name, value, &mut common);
        }
        ContainerSheet { sheet: self, common }
    }

    /// Adds a sample of a counter or a gauge. `labels` are values, as many as the family has names.
    pub(crate) fn set(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        self.sample(family, "", labels, Value::Number(value));
    }

    /// Adds a count. Prometheus takes it for a float, exact up to 2^53.
    pub(crate) fn count(&mut self, family: &'static Family, labels: &[&str], value: u64) {
        self.sample(family, "", labels, Value::Count(value));
    }

    /// Adds a number of things.
    pub(crate) fn size(&mut self, family: &'static Family, labels: &[&str], value: usize) {
        self.count(family, labels, u64::try_from(value).unwrap_or(u64::MAX));
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

    fn sample(&mut self, family: &'static Family, common: &str, own: &[&str], value: Value) {
        let mut labels = std::mem::take(&mut self.labels);
        if let Some(block) = self.block(family) {
            labels.clear();
            family.own_labels(common, own, &mut labels);
            block.line("", [common, &labels, ""], value);
        }
        self.labels = labels;
    }

    /// `None` when its collector is not wanted.
    fn block(&mut self, family: &'static Family) -> Option<&mut Block> {
        if !self.wanted.has(family.collector) {
            return None;
        }
        let is_here =
            |place: &usize| self.blocks.get(*place).is_some_and(|block| std::ptr::eq(block.family, family));
        if let Some(place) = [self.last, self.last + 1].into_iter().find(is_here) {
            self.last = place;
            return self.blocks.get_mut(place);
        }
        let next = self.blocks.len();
        let place = *self.places.entry(std::ptr::from_ref(family).addr()).or_insert(next);
        if place == next {
            let (full, text, bounds) = (Vec::new(), String::new(), Vec::new());
            self.blocks.push(Block { family, full, text, bounds, n_series: 0 });
        }
        self.last = place;
        self.blocks.get_mut(place)
    }
}

impl ContainerSheet<'_> {
    /// Adds a sample of a counter or a gauge. `own` are values of the labels that the family has after those of every container.
    pub(crate) fn set(&mut self, family: &'static Family, own: &[&str], value: f64) {
        self.sheet.sample(family, &self.common, own, Value::Number(value));
    }

    /// Adds a count.
    pub(crate) fn count(&mut self, family: &'static Family, own: &[&str], value: u64) {
        self.sheet.sample(family, &self.common, own, Value::Count(value));
    }

    /// Adds a count whose own labels are text already, as [`Family::container_labels`] makes it.
    pub(crate) fn count_under(&mut self, family: &'static Family, own: &str, value: u64) {
        if let Some(block) = self.sheet.block(family) {
            block.line("", [&self.common, own, ""], Value::Count(value));
        }
    }

    /// Adds a number of things.
    pub(crate) fn size(&mut self, family: &'static Family, own: &[&str], value: usize) {
        self.count(family, own, u64::try_from(value).unwrap_or(u64::MAX));
    }

    /// Adds a histogram of a family that has no other labels than those of every container. Its bounds are the same each time.
    pub(crate) fn histogram(&mut self, family: &'static Family, shown: &Distribution<'_>) {
        let Some(block) = self.sheet.block(family) else { return };
        if block.bounds.is_empty() {
            let bounds = shown.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
            block.bounds = bounds.map(|bound| format!(",le=\"{bound}\"")).collect();
        }
        let bounds = std::mem::take(&mut block.bounds);
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(shown.counts) {
            below += count;
            block.line("_bucket", [&self.common, "", bound], Value::Count(below));
        }
        block.bounds = bounds;
        block.line("_sum", [&self.common, "", ""], Value::Number(shown.sum));
        block.line("_count", [&self.common, "", ""], Value::Count(below));
    }
}

impl Family {
    /// The labels after those of every container, with these values, as text.
    pub(super) fn container_labels(&self, own: &[&str]) -> String {
        let mut text = String::new();
        self.labels_after(CONTAINER_LABELS.len(), own, &mut text);
        text
    }

    /// The labels after the common ones.
    fn own_labels(&self, common: &str, own: &[&str], text: &mut String) {
        self.labels_after(if common.is_empty() { 0 } else { CONTAINER_LABELS.len() }, own, text);
    }

    fn labels_after(&self, n_common: usize, own: &[&str], text: &mut String) {
        // Whoever calls gives the same number each time, so that no node can make the difference.
        assert_eq!(self.labels.len(), n_common + own.len(), "labels of {}", self.name);
        for (name, value) in self.labels.iter().skip(n_common).zip(own) {
            pair(name, value, text);
        }
    }
}

/// What a sample says.
#[derive(Clone, Copy)]
enum Value {
    Count(u64),
    Number(f64),
}

impl Block {
    /// A line. `labels` follow each other, each with a comma before it.
    fn line(&mut self, suffix: &str, labels: [&str; 3], value: Value) {
        let Self { family, text, .. } = self;
        text.push_str(family.name);
        text.push_str(suffix);
        let mut opening = "{";
        for labels in labels {
            if let Some(others) = labels.strip_prefix(',') {
                text.push_str(std::mem::replace(&mut opening, ","));
                text.push_str(others);
            }
        }
        text.push_str(if opening == "{" { " " } else { "} " });
        match value {
            // As most are.
            Value::Count(0) => text.push('0'),
            Value::Number(0.0) => text.push('0'),
            Value::Count(value) => _ = write!(text, "{value}"),
            Value::Number(value) => _ = write!(text, "{value}"),
        }
        text.push('\n');
        self.n_series += 1;
        if text.len() >= PART {
            // The line that fills it is there as a whole.
            self.full.push(std::mem::replace(text, String::with_capacity(PART + LINE)));
        }
    }
}

/// Appends a label after a comma.
fn pair(name: &str, value: &str, text: &mut String) {
    text.push(',');
    text.push_str(name);
    text.push_str("=\"");
    escape(value, text);
    text.push('"');
}

/// Appends a label's value as the text format has it.
fn escape(value: &str, text: &mut String) {
    let is_special = |byte: &u8| matches!(byte, b'\\' | b'"' | b'\n');
    let mut rest = value;
    while let Some(at) = rest.as_bytes().iter().position(is_special) {
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

    const fn family(name: &'static str, kind: Kind, labels: &'static [&'static str]) -> Family {
        let collector = match kind {
            Kind::Histogram => Collector::ZombieHistogram,
            _ => Collector::Forks,
        };
        Family { name, kind, collector, labels, help: "Help" }
    }

    static SIZES: Family = family("sizes", Kind::Histogram, &CONTAINER_LABELS);
    static FORKS: Family = family("forks_total", Kind::Counter, &["namespace", "pod", "container", "kind"]);
    static NODE: Family = family("node_total", Kind::Counter, &[]);
    static AGES: Family = family("age_seconds", Kind::Gauge, &["a", "b"]);

    #[test]
    fn samples_become_text() {
        let fill = |wanted| {
            let mut sheet = Sheet::new(wanted);
            let mut first = sheet.of(&Names::new("", "a\"\n\\b", ""));
            first.count(&FORKS, &["thread"], 3);
            first.count(&FORKS, &["\""], 0);
            let shown = Distribution { bounds: &[1.0, 2.5], counts: &[4, 1, 2], sum: 9.5 };
            sheet.of(&Names::new("n", "p", "c")).histogram(&SIZES, &shown);
            sheet.count(&NODE, &[], u64::MAX);
            sheet.set(&AGES, &["x", "y"], 0.25);
            sheet
        };
        assert_eq!(fill(Collectors::NONE).n_series(), 0);
        assert_eq!(fill(Collectors::NONE.with(Collector::Forks)).n_series(), 4);
        let sheet = fill(Collectors::ALL);
        assert_eq!(sheet.n_series(), 9);
        let text: String = sheet.into_parts().collect();
        let expected = r#"# HELP age_seconds Help
# TYPE age_seconds gauge
age_seconds{a="x",b="y"} 0.25
# HELP forks_total Help
# TYPE forks_total counter
forks_total{namespace="",pod="a\"\n\\b",container="",kind="thread"} 3
forks_total{namespace="",pod="a\"\n\\b",container="",kind="\""} 0
# HELP node_total Help
# TYPE node_total counter
node_total 18446744073709551615
# HELP sizes Help
# TYPE sizes histogram
sizes_bucket{namespace="n",pod="p",container="c",le="1"} 4
sizes_bucket{namespace="n",pod="p",container="c",le="2.5"} 5
sizes_bucket{namespace="n",pod="p",container="c",le="+Inf"} 7
sizes_sum{namespace="n",pod="p",container="c"} 9.5
sizes_count{namespace="n",pod="p",container="c"} 7
"#;
        assert_eq!(text, expected);
    }
}
