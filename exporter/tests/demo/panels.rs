//! The panels of the shipped dashboard over the time of the demo: each is asked for as Grafana asks, and must have something to show.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::Res;
use crate::panel::{Cell, Line, Panel, Place, Record, Table, Time};
use crate::pods::NAMESPACE;
use crate::prometheus::{Answer, Prometheus};

const DASHBOARD: &str = include_str!("../../deploy/dashboard.json");

/// The panels that have nothing to show here, and why.
const EMPTY: [(&str, &str); 1] = [("Divergence of forks", "there is no node_exporter to compare with")];

/// The panels that may show nothing but zeros, and why.
const ZERO: [(&str, &str); 3] = [
    ("Events lost", "none is"),
    ("Containers in overflow", "there are few"),
    ("Migrations", "podrt makes processes in the cgroup that they belong to"),
];

/// The row that is about one moment; here it is the one when all alerts had fired.
const MOMENT: &str = "Now";

/// Steps between two values of a line, in scrapes: what a wide panel of some minutes has in Grafana.
const SCRAPES_PER_STEP: u32 = 2;

/// The time that is shown.
pub(crate) struct Shown {
    pub(crate) began: SystemTime,
    /// What happened, and how long after it began.
    pub(crate) marks: Vec<(String, Duration)>,
    /// The moment that a panel of one is about, after it began.
    pub(crate) moment: Duration,
    pub(crate) time: Duration,
}

/// What all panels show.
pub(crate) fn fill(prometheus: &Prometheus, shown: &Shown) -> Res<Vec<Record>> {
    let step = prometheus.interval() * SCRAPES_PER_STEP;
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let grafana = Grafana {
        prometheus,
        shown,
        step,
        n_steps: usize::try_from(shown.time.as_millis() / step.as_millis())?,
        variables: variables(&dashboard, prometheus, shown, step),
    };
    let marks = shown.marks.iter().map(|(what, at)| (what.clone(), at.as_secs_f64())).collect();
    let time = Time { step_s: step.as_secs_f64(), n_steps: grafana.n_steps, marks };
    let mut records = vec![Record::Time(time)];
    let mut row = "";
    for panel in list(&dashboard["panels"]) {
        if panel["type"] == "row" {
            row = text(&panel["title"]);
        }
        // A row that is closed holds its panels.
        let inner = list(&panel["panels"]);
        for panel in inner.iter().chain((panel["type"] != "row").then_some(panel)) {
            let filled = grafana.panel(row, panel);
            records.push(Record::Panel(filled.map_err(|error| format!("{}: {error}", panel["title"]))?));
        }
    }
    Ok(records)
}

/// Fails when a panel has nothing to show, or one has that should not.
pub(crate) fn check(records: &[Record]) -> Res<()> {
    let panels = records.iter().filter_map(|record| match record {
        Record::Panel(panel) => Some(panel),
        Record::Time(_) => None,
    });
    let mut wrong: Vec<String> = panels.clone().filter_map(offence).collect();
    for (listed, _) in EMPTY.iter().chain(&ZERO) {
        if !panels.clone().any(|panel| panel.title == *listed) {
            wrong.push(format!("{listed} is not in the dashboard"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("panels: {}", wrong.join("; ")).into()) }
}

/// Writes them to a file that is there, a line each.
pub(crate) fn write(records: &[Record], path: &Path) -> Res<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    for record in records {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        file.write_all(&line)?;
    }
    Ok(())
}

/// Why a panel is not as it should be here.
fn offence(panel: &Panel) -> Option<String> {
    let title = panel.title.as_str();
    let mut values = panel.lines.iter().flat_map(|line| line.values.iter().flatten()).peekable();
    let is_empty = values.peek().is_none() && panel.table.rows.is_empty();
    let is_zero = panel.table.rows.is_empty() && values.all(|value| *value == 0.0);
    let is_in = |panels: &[(&str, &str)]| panels.iter().any(|(it, _)| *it == title);
    match (is_empty, is_zero) {
        (true, _) => (!is_in(&EMPTY)).then(|| format!("{title} is empty")),
        (false, _) if is_in(&EMPTY) => Some(format!("{title} is not empty")),
        (false, true) => (!is_in(&ZERO)).then(|| format!("{title} shows zeros only")),
        (false, false) => None,
    }
}

/// The variables of the dashboard, longest first, with what Grafana puts in their place when this namespace is chosen and everything
/// in it.
fn variables(
    dashboard: &Value,
    prometheus: &Prometheus,
    shown: &Shown,
    step: Duration,
) -> Vec<(String, String)> {
    let interval = prometheus.interval();
    // Grafana, "Prometheus query editor": the larger of four scrapes, and of a step and a scrape.
    let rate_interval = (interval * 4).max(step + interval);
    let mut variables = vec![
        ("$__rate_interval".to_owned(), format!("{}ms", rate_interval.as_millis())),
        ("$__range".to_owned(), format!("{}s", shown.time.as_secs())),
    ];
    for variable in list(&dashboard["templating"]["list"]) {
        let name = text(&variable["name"]);
        if let Some(all) = variable["allValue"].as_str() {
            let value = if name == "namespace" { NAMESPACE } else { all };
            variables.push((format!("${name}"), value.to_owned()));
        }
    }
    variables.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    variables
}

/// Asks as Grafana does.
struct Grafana<'a> {
    prometheus: &'a Prometheus,
    shown: &'a Shown,
    step: Duration,
    n_steps: usize,
    variables: Vec<(String, String)>,
}

impl Grafana<'_> {
    fn panel(&self, row: &str, panel: &Value) -> Res<Panel> {
        let defaults = &panel["fieldConfig"]["defaults"];
        let side = |name: &str| -> Res<u32> {
            Ok(u32::try_from(panel["gridPos"][name].as_u64().ok_or("it has no place")?)?)
        };
        let kind = text(&panel["type"]);
        let mut lines = Vec::new();
        let mut table = Table::default();
        if kind == "table" {
            table = self.table(row, panel)?;
        } else {
            for target in list(&panel["targets"]) {
                lines.extend(self.lines(row, target)?);
            }
        }
        Ok(Panel {
            row: row.to_owned(),
            title: text(&panel["title"]).to_owned(),
            kind: kind.to_owned(),
            unit: text(&defaults["unit"]).to_owned(),
            place: Place { x: side("x")?, y: side("y")?, w: side("w")?, h: side("h")? },
            is_stacked: defaults["custom"]["stacking"]["mode"] == "normal",
            lines,
            table,
        })
    }

    /// An expression without variables.
    fn expression(&self, target: &Value) -> Res<String> {
        let mut expression = text(&target["expr"]).to_owned();
        for (name, value) in &self.variables {
            expression = expression.replace(name, value);
        }
        if expression.is_empty() || expression.contains('$') {
            return Err(format!("{expression:?} has a variable that is unknown here").into());
        }
        Ok(expression)
    }

    /// What an expression gives at one moment.
    fn instant(&self, row: &str, target: &Value) -> Res<Answer> {
        let after = if row == MOMENT { self.shown.moment } else { self.shown.time };
        self.prometheus.query_at(&self.expression(target)?, self.shown.began + after)
    }

    fn lines(&self, row: &str, target: &Value) -> Res<Vec<Line>> {
        let legend = text(&target["legendFormat"]);
        if target["instant"] == true {
            let answer = self.instant(row, target)?;
            let line = |(labels, value): &(BTreeMap<String, String>, String)| Line {
                name: named(legend, labels),
                values: vec![finite(value)],
            };
            return Ok(answer.0.iter().map(line).collect());
        }
        let (began, step) = (self.shown.began, self.step);
        let range = self.prometheus.query_range(&self.expression(target)?, began, step, self.n_steps)?;
        let line = |(labels, values)| Line { name: named(legend, &labels), values };
        Ok(range.into_iter().map(line).collect())
    }

    /// The answers of all targets side by side, as Grafana's transformations `merge` and `organize` make them.
    fn table(&self, row: &str, panel: &Value) -> Res<Table> {
        let targets = list(&panel["targets"]);
        let mut names: Vec<String> = Vec::new();
        let mut rows: BTreeMap<BTreeMap<String, String>, BTreeMap<String, f64>> = BTreeMap::new();
        for target in targets {
            let own = if targets.len() > 1 {
                format!("Value #{}", text(&target["refId"]))
            } else {
                "Value".to_owned()
            };
            for (labels, value) in self.instant(row, target)?.0 {
                names.extend(labels.keys().cloned());
                if let Some(value) = finite(&value) {
                    rows.entry(labels).or_default().insert(own.clone(), value);
                }
            }
            names.push(own);
        }
        let organize = list(&panel["transformations"]).iter().find(|it| it["id"] == "organize");
        let options = &organize.ok_or("it is not organized")?["options"];
        names.sort_by_key(|name| options["indexByName"][name].as_u64());
        names.dedup();
        let title = |name: &str| options["renameByName"][name].as_str().unwrap_or(name).to_owned();
        let cell = |(labels, values): (&BTreeMap<String, String>, &BTreeMap<String, f64>), name: &String| {
            let number = values.get(name).copied().map(Cell::Number);
            number.unwrap_or_else(|| Cell::Text(labels.get(name).cloned().unwrap_or_default()))
        };
        let mut rows: Vec<_> = rows.iter().collect();
        let sorted = text(&panel["options"]["sortBy"][0]["displayName"]);
        let by = names.iter().find(|name| title(name) == sorted).ok_or("it is sorted by no column")?;
        rows.sort_by(|(_, a), (_, b)| b.get(by).partial_cmp(&a.get(by)).unwrap_or(std::cmp::Ordering::Equal));
        Ok(Table {
            head: names.iter().map(|name| (title(name), unit(panel, &title(name)))).collect(),
            rows: rows.iter().map(|row| names.iter().map(|name| cell(*row, name)).collect()).collect(),
        })
    }
}

/// The unit of a column.
fn unit(panel: &Value, column: &str) -> String {
    let is_it = |it: &&Value| it["matcher"]["id"] == "byName" && it["matcher"]["options"] == column;
    let it = list(&panel["fieldConfig"]["overrides"]).iter().find(is_it);
    let properties = it.map_or(&[][..], |it| list(&it["properties"]));
    let unit = properties.iter().find(|property| property["id"] == "unit");
    unit.map(|property| text(&property["value"]).to_owned()).unwrap_or_default()
}

/// A legend of which `{{label}}` is the value of a label.
fn named(legend: &str, labels: &BTreeMap<String, String>) -> String {
    let mut name = legend.to_owned();
    for part in legend.split("{{").skip(1) {
        if let Some((label, _)) = part.split_once("}}") {
            let value = labels.get(label.trim()).map_or("", String::as_str);
            name = name.replace(&format!("{{{{{label}}}}}"), value);
        }
    }
    name
}

/// A value, if there is one.
pub(crate) fn finite(value: &str) -> Option<f64> {
    value.parse().ok().filter(|value: &f64| value.is_finite())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
