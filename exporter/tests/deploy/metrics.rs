//! Names and labels of metrics, wherever they are written down.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::promql::Known;
use crate::rules::Rules;
use crate::{Case, Res, dir, none, text};

pub(crate) const CASES: &[Case] = &[
    ("metrics::what_is_not_exported_is_found", what_is_not_exported_is_found),
    ("metrics::alerts_ask_for_what_is_exported", alerts_ask_for_what_is_exported),
    ("metrics::the_dashboard_asks_for_what_is_exported", the_dashboard_asks_for_what_is_exported),
    ("metrics::every_name_in_a_text_is_exported", every_name_in_a_text_is_exported),
];

/// The check itself.
fn what_is_not_exported_is_found() -> Res<()> {
    let known = Known::golden()?;
    for good in [
        "podproof_processes > 0",
        "sum by (instance, pod) (rate(podproof_forks_total{kind=\"process\"}[5m] offset 1m))",
        "histogram_quantile(0.9, sum by (le, pod) (rate(podproof_zombie_duration_seconds_bucket[5m])))",
        "podproof_pids * on (namespace, pod, container) group_left (runtime) podproof_container_info",
    ] {
        none(&known.check(good))?;
    }
    for bad in [
        "podproof_zombies > 0",
        "{pod=\"a\"}",
        "podproof_processes{kind=\"process\"}",
        "sum by (le) (podproof_processes)",
        "max_over_time(podproof_nothing[5m:1m])",
        "podproof_processes and on (reaper) podproof_reaps_total",
        "podproof_pids * on (pod) group_left (flags) podproof_container_info",
        "podproof_zombie_duration_seconds",
        "sum(",
    ] {
        if known.check(bad).is_empty() {
            return Err(format!("nothing is said of {bad}").into());
        }
    }
    Ok(())
}

fn alerts_ask_for_what_is_exported() -> Res<()> {
    let known = Known::golden()?;
    let rules = Rules::read()?;
    none(&rules.all().flat_map(|rule| known.check(&rule.expr)).collect::<Vec<_>>())
}

fn the_dashboard_asks_for_what_is_exported() -> Res<()> {
    let known = Known::golden()?;
    let dashboard: Value = serde_json::from_str(&text("dashboard.json")?)?;
    let mut expressions = Vec::new();
    collect(&dashboard, &mut expressions);
    if expressions.len() < 40 {
        return Err(format!("only {} expressions were found", expressions.len()).into());
    }
    none(&expressions.iter().flat_map(|expression| known.check(expression)).collect::<Vec<_>>())
}

/// Expressions of panels and of variables, in which ranges are Grafana's variables.
fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value.as_str()) {
                    ("expr", Some(text)) => {
                        into.push(text.replace("$__rate_interval", "5m").replace("$__range", "1h"));
                    }
                    ("query" | "definition", Some(text)) => {
                        let inner = text.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'));
                        if let Some((series, label)) = inner.and_then(|it| it.rsplit_once(',')) {
                            into.push(format!("count by ({label}) ({series})"));
                        }
                    }
                    _ => collect(value, into),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, into)),
        _ => {}
    }
}

/// Texts for people, and the unit tests of the alerts, which work with any name.
fn every_name_in_a_text_is_exported() -> Res<()> {
    let known = Known::golden()?;
    let mut files = vec![dir().with_file_name("README.md")];
    for folder in [dir(), dir().join("kubernetes")] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_file() {
                files.push(path);
            }
        }
    }
    let mut offences = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        for name in names(&text).filter(|name| !known.has(name)) {
            offences.push(format!("{}: {name} is not exported", short(&file)));
        }
    }
    none(&offences)
}

/// Whole names of this exporter's metrics.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // A star stands for the rest of a name.
    let words = text.split(move |c: char| !is_inside(c) && c != '*');
    words.filter(|word| word.starts_with("podproof_") && !word.ends_with('*'))
}

fn short(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
