//! A Prometheus with the shipped configuration and rules, and what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::panels::finite;
use crate::process::{Process, get};
use crate::shrink::{duration, shrink};
use crate::support::{samples, until};
use crate::{Alert, PATIENCE, Res, values};

const ADDRESS: &str = "127.0.0.1:9090";

const CONFIGURATION: &str = include_str!("../../deploy/prometheus.yaml");
const RULES: &str = include_str!("../../deploy/alerts.yaml");

/// The server; its data is gone with the demo.
pub(crate) struct Prometheus {
    _process: Process,
    interval: Duration,
}

/// What an expression gives: labels and a value each.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) Vec<(BTreeMap<String, String>, String)>);

/// The labels of a series, and a value or none for each moment.
pub(crate) type Series = (BTreeMap<String, String>, Vec<Option<f64>>);

impl Prometheus {
    /// Starts it, and waits until it has scraped the exporter.
    pub(crate) fn start(dir: &Path, exporter: &str) -> Res<Self> {
        fs::write(dir.join("alerts.yaml"), shrink(RULES))?;
        let file = dir.join("prometheus.json");
        let configuration = configuration()?;
        fs::write(&file, configuration.to_string())?;
        let interval = configuration["global"]["scrape_interval"].as_str().and_then(duration);
        let program = std::env::var_os("PODPROOF_PROMETHEUS").ok_or("PODPROOF_PROMETHEUS is not set")?;
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", dir.join("data").display()),
            format!("--web.listen-address={ADDRESS}"),
            "--log.level=warn".to_owned(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut process = Process::start(&program, &arguments, &dir.join("prometheus.log"))?;
        until("Prometheus to be ready", PATIENCE, || {
            process.check()?;
            Ok(get(ADDRESS, "/-/ready").is_ok_and(|(code, _)| code == 200).then_some(()))
        })?;
        let interval = interval.ok_or("the configuration has no interval")?;
        let prometheus = Self { _process: process, interval };
        until(&format!("a scrape of {exporter}"), PATIENCE, || {
            Ok((!prometheus.query("podproof_build_info")?.0.is_empty()).then_some(()))
        })?;
        Ok(prometheus)
    }

    /// Time from scrape to scrape.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    pub(crate) fn query(&self, expression: &str) -> Res<Answer> {
        self.query_at(expression, SystemTime::now())
    }

    /// What an expression gave at a moment.
    pub(crate) fn query_at(&self, expression: &str, moment: SystemTime) -> Res<Answer> {
        let data = api(&format!("query?query={}&time={}", encoded(expression), unix(moment)?))?;
        let samples = data["result"].as_array().ok_or("an answer without a result")?;
        let sample = |sample: &Value| (labels(sample), text(&sample["value"][1]));
        Ok(Answer(samples.iter().map(sample).collect()))
    }

    /// What an expression gave at so many moments from `began` on.
    pub(crate) fn query_range(
        &self,
        expression: &str,
        began: SystemTime,
        step: Duration,
        n_steps: usize,
    ) -> Res<Vec<Series>> {
        let end = began + step * u32::try_from(n_steps)?.saturating_sub(1);
        let (from, to, width) = (unix(began)?, unix(end)?, step.as_secs_f64());
        let query = encoded(expression);
        let data = api(&format!("query_range?query={query}&start={from}&end={to}&step={width}"))?;
        let line = |series: &Value| -> Res<Series> {
            let mut values = vec![None; n_steps];
            for sample in series["values"].as_array().into_iter().flatten() {
                let after = sample[0].as_f64().ok_or("a sample without a time")? - from.parse::<f64>()?;
                let place = values.get_mut((after / width).round() as usize);
                *place.ok_or("a sample outside of the range")? = sample[1].as_str().and_then(finite);
            }
            Ok((labels(series), values))
        };
        data["result"].as_array().ok_or("an answer without a result")?.iter().map(line).collect()
    }

    /// The value of an expression that has at most one.
    pub(crate) fn value(&self, expression: &str) -> Res<Option<f64>> {
        match &self.query(expression)?.0[..] {
            [] => Ok(None),
            [(_, value)] => Ok(Some(value.parse()?)),
            more => Err(format!("{expression} has {} values", more.len()).into()),
        }
    }

    /// Fails unless there is a series of each value of a label that the alerts ask for.
    pub(crate) fn check_values(&self) -> Res<()> {
        let asked = values::asked_for(RULES)?;
        let mut missing = Vec::new();
        for selector in &asked {
            if self.query(selector)?.0.is_empty() {
                missing.push(selector);
            }
        }
        if asked.is_empty() || !missing.is_empty() {
            return Err(format!("of {} values these are not exported: {missing:?}", asked.len()).into());
        }
        Ok(())
    }
}

/// The shipped one, shortened, with the exporter alone: there is no node_exporter.
fn configuration() -> Res<Value> {
    let mut document: Value = serde_saphyr::from_str(&shrink(CONFIGURATION))?;
    let jobs = document["scrape_configs"].as_array_mut().ok_or("no jobs")?;
    jobs.retain(|job| job["job_name"] == "podproof");
    Ok(document)
}

/// The server's own metrics, by the name with its labels.
pub(crate) fn own() -> Res<BTreeMap<String, f64>> {
    samples(&get(ADDRESS, "/metrics")?.1)
}

/// The `data` of an answer of the API.
pub(crate) fn api(path: &str) -> Res<Value> {
    let (code, body) = get(ADDRESS, &format!("/api/v1/{path}"))?;
    let mut answer: Value =
        serde_json::from_str(&body).map_err(|error| format!("{code}: {error}: {body}"))?;
    if answer["status"] != "success" {
        return Err(format!("{path}: {code}: {answer}").into());
    }
    Ok(answer["data"].take())
}

fn labels(series: &Value) -> BTreeMap<String, String> {
    let labels = series["metric"].as_object().into_iter().flatten();
    labels.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A moment as the API takes it.
fn unix(moment: SystemTime) -> Res<String> {
    Ok(format!("{:.3}", moment.duration_since(UNIX_EPOCH)?.as_secs_f64()))
}

/// For the query of a URL (RFC 3986, section 2.1).
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(byte.into());
        } else {
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

impl Answer {
    /// Two labels of each sample.
    pub(crate) fn pairs(&self, first: &str, second: &str) -> BTreeSet<Alert> {
        let label =
            |labels: &BTreeMap<String, String>, name: &str| labels.get(name).cloned().unwrap_or_default();
        self.0.iter().map(|(labels, _)| (label(labels, first), label(labels, second))).collect()
    }

    /// A line per sample, in columns.
    pub(crate) fn table(&self) -> String {
        let mut names: Vec<&str> =
            self.0.iter().flat_map(|(labels, _)| labels.keys().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        let mut rows = vec![names.iter().copied().chain(["value"]).map(str::to_owned).collect::<Vec<_>>()];
        for (labels, value) in &self.0 {
            let cell = |name: &&str| labels.get(*name).cloned().unwrap_or_default();
            rows.push(names.iter().map(cell).chain([value.clone()]).collect());
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..=names.len()).map(width).collect();
        let mut text = String::new();
        for row in &rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            text.push_str(format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end());
            text.push('\n');
        }
        text
    }
}
