//! A metric by name, and the sheet on which a scrape collects samples.

use std::collections::BTreeMap;

use super::collector::{Collector, Collectors};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

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

/// Samples of a scrape.
#[derive(Debug)]
pub(crate) struct Sheet {
    wanted: Collectors,
    families: BTreeMap<&'static str, (&'static Family, Vec<Metric>)>,
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
        Self { wanted, families: BTreeMap::new() }
    }

    /// Adds a sample of a counter or a gauge. `labels` are values, as many as the family has names.
    pub(crate) fn set(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        if !self.wanted.has(family.collector) {
            return;
        }
        let mut metric = labelled(family, labels);
        if family.kind == Kind::Counter {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.push(family, metric);
    }

    /// Adds a count. Exact up to 2^53, as every value that Prometheus stores.
    pub(crate) fn count(&mut self, family: &'static Family, labels: &[&str], value: u64) {
        self.set(family, labels, as_f64(value));
    }

    /// Adds a number of things.
    pub(crate) fn size(&mut self, family: &'static Family, labels: &[&str], value: usize) {
        self.count(family, labels, u64::try_from(value).unwrap_or(u64::MAX));
    }

    pub(crate) fn histogram(&mut self, family: &'static Family, labels: &[&str], shown: &Distribution<'_>) {
        if !self.wanted.has(family.collector) {
            return;
        }
        let mut metric = labelled(family, labels);
        let mut histogram = Histogram::default();
        let mut below = 0;
        let bounds = shown.bounds.iter().zip(shown.counts);
        let bucket = |(bound, count): (&f64, &u64)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        };
        histogram.set_bucket(bounds.map(bucket).collect());
        histogram.set_sample_count(shown.counts.iter().sum());
        histogram.set_sample_sum(shown.sum);
        metric.set_histogram(histogram);
        self.push(family, metric);
    }

    /// All families that have a sample: the encoder refuses one without.
    pub(crate) fn into_families(self) -> Vec<MetricFamily> {
        let family = |(family, metrics): (&Family, Vec<Metric>)| {
            let mut out = MetricFamily::default();
            out.set_name(family.name.to_owned());
            out.set_help(family.help.to_owned());
            out.set_field_type(match family.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram => MetricType::HISTOGRAM,
            });
            out.set_metric(metrics);
            out
        };
        self.families.into_values().map(family).collect()
    }

    /// How many series there are, each bucket, sum and count of a histogram for one.
    pub(crate) fn n_series(&self) -> usize {
        let series = |(family, metrics): &(&Family, Vec<Metric>)| match family.kind {
            Kind::Histogram => {
                metrics.iter().map(|metric| metric.get_histogram().get_bucket().len() + 3).sum()
            }
            Kind::Counter | Kind::Gauge => metrics.len(),
        };
        self.families.values().map(series).sum()
    }

    fn push(&mut self, family: &'static Family, metric: Metric) {
        self.families.entry(family.name).or_insert((family, Vec::new())).1.push(metric);
    }
}

fn labelled(family: &Family, values: &[&str]) -> Metric {
    debug_assert_eq!(family.labels.len(), values.len(), "labels of {}", family.name);
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(family.labels.iter().zip(values).map(pair).collect())
}

#[expect(clippy::cast_precision_loss, reason = "a sample is a float; counts stay below 2^53 for centuries")]
pub(crate) fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

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
        let text = TextEncoder::new().encode_to_string(&sheet.into_families()).unwrap();
        assert_eq!(
            text,
            "# HELP forks_total Forks\n# TYPE forks_total counter\nforks_total{pod=\"a\\\"\\n\\\\b\"} 3\n\
             # HELP sizes Sizes of pods\n# TYPE sizes histogram\nsizes_bucket{pod=\"p\",le=\"1\"} 4\n\
             sizes_bucket{pod=\"p\",le=\"2\"} 5\nsizes_bucket{pod=\"p\",le=\"+Inf\"} 7\nsizes_sum{pod=\"p\"} 9.5\n\
             sizes_count{pod=\"p\"} 7\n"
        );
    }
}
