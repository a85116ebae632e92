//! The alerts, and what is said of them elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use exporter::cli::Cli;
use serde::Deserialize;
use serde_json::Value;

use crate::{Case, Res, expect, text};

pub(crate) const CASES: &[Case] = &[
    ("rules::the_table_of_alerts_is_that_of_the_rules", the_table_is_that_of_the_rules),
    ("rules::a_blind_exporter_silences_what_the_table_says", a_blind_exporter_silences),
    ("rules::each_alert_is_tested", each_alert_is_tested),
    ("rules::prometheus_keeps_the_names_of_containers", prometheus_keeps_the_names),
];

/// alerts.yaml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to know that nothing else is there")]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to know that nothing else is there")]
pub(crate) struct Rule {
    alert: String,
    pub(crate) expr: String,
    #[serde(rename = "for")]
    delay: String,
    labels: Labels,
    annotations: Annotations,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Labels {
    severity: String,
    route: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "each alert has both")]
struct Annotations {
    summary: String,
    description: String,
}

impl Rules {
    pub(crate) fn read() -> Res<Self> {
        Ok(serde_saphyr::from_str(&text("alerts.yaml")?)?)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Rule> {
        self.groups.iter().flat_map(|group| &group.rules)
    }
}

/// Rows of the README's table of alerts: name, severity with its route, delay, whether it is silenced.
fn table() -> Res<BTreeMap<String, [String; 3]>> {
    let text = text("README.md")?;
    let rows = text.lines().skip_while(|line| !line.starts_with("| alert |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<String> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        let [name, rest @ ..] = &*cells else { return Err("an empty row".into()) };
        Ok((name.clone(), rest.to_vec().try_into().map_err(|_cells| format!("the row of {name}"))?))
    })
    .collect()
}

fn the_table_is_that_of_the_rules() -> Res<()> {
    let mut found = BTreeMap::new();
    for (name, [severity, delay, _]) in table()? {
        let delay = if delay.starts_with("at once") { "0m".to_owned() } else { delay.replace(" min", "m") };
        found.insert(name, (severity, delay));
    }
    let mut wanted = BTreeMap::new();
    for rule in Rules::read()?.all() {
        let route =
            rule.labels.route.as_ref().map_or_else(String::new, |route| format!(", `route=\"{route}\"`"));
        wanted.insert(rule.alert.clone(), (format!("{}{route}", rule.labels.severity), rule.delay.clone()));
    }
    expect("the table of alerts", found, wanted)
}

fn a_blind_exporter_silences() -> Res<()> {
    let document: Value = serde_saphyr::from_str(&text("alertmanager.yaml")?)?;
    let rule = &document["inhibit_rules"][0];
    expect(
        "the alert that silences",
        rule["source_matchers"][0].as_str(),
        Some("alertname=\"ProcessExporterBlind\""),
    )?;
    let matcher = rule["target_matchers"][0].as_str().unwrap_or_default();
    let names = matcher.strip_prefix("alertname=~\"").and_then(|it| it.strip_suffix('"')).unwrap_or_default();
    let silenced: BTreeSet<String> = names.split('|').map(str::to_owned).collect();
    let table = table()?.into_iter().filter(|(_, [.., is_silenced])| is_silenced == "yes");
    expect("the alerts that are silenced", silenced, table.map(|(name, _)| name).collect())
}

fn each_alert_is_tested() -> Res<()> {
    let tests: Value = serde_saphyr::from_str(&text("alerts_test.yaml")?)?;
    let mut tested = BTreeSet::new();
    for test in tests["tests"].as_array().into_iter().flatten() {
        let samples = test["promql_expr_test"].as_array().into_iter().flatten();
        for sample in samples.flat_map(|expr| expr["exp_samples"].as_array()).flatten() {
            let labels = sample["labels"].as_str().unwrap_or_default();
            let name = labels.split("alertname=\"").nth(1).and_then(|rest| rest.split('"').next());
            tested.extend(name.map(str::to_owned));
        }
    }
    expect("alerts with a test", tested, Rules::read()?.all().map(|rule| rule.alert.clone()).collect())
}

fn prometheus_keeps_the_names() -> Res<()> {
    let document: Value = serde_saphyr::from_str(&text("prometheus.yaml")?)?;
    // Nobody has installed one.
    expect("an Alertmanager", &document["alerting"], &Value::Null)?;
    let jobs = document["scrape_configs"].as_array().ok_or("no jobs")?;
    let job = jobs.iter().find(|job| job["job_name"] == "podproof").ok_or("no job podproof")?;
    expect("honor_labels", &job["honor_labels"], &Value::Bool(true))?;
    let address = <Cli as clap::Parser>::try_parse_from(["podproof-exporter"])?.listen.remove(0);
    expect(
        "the address of the exporter",
        job["static_configs"][0]["targets"][0].as_str(),
        Some(&*address.to_string()),
    )
}
