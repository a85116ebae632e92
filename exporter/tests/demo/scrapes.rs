//! What a Prometheus has to say of the scrapes that it made.

use std::time::Duration;

use crate::Res;
use crate::prometheus::{self, Prometheus};

/// Samples and scrapes that the server refused, by its own count. None of them sees a series that is in one scrape twice.
const REFUSED: [&str; 8] = [
    "prometheus_rule_evaluation_failures_total",
    "prometheus_target_scrape_pool_exceeded_label_limits_total",
    "prometheus_target_scrapes_exceeded_body_size_limit_total",
    "prometheus_target_scrapes_exceeded_sample_limit_total",
    "prometheus_target_scrapes_sample_duplicate_timestamp_total",
    "prometheus_target_scrapes_sample_out_of_bounds_total",
    "prometheus_target_scrapes_sample_out_of_order_total",
    "prometheus_tsdb_out_of_order_samples_total",
];

/// Scrapes that were made in less time than this share of what they had are too few.
const LEAST_SHARE: f64 = 0.5;

/// Fails unless in this time, the last that has passed, each scrape has succeeded as a whole, no series was in one twice, and no counter
/// has decreased; and unless each rule can be evaluated.
pub(crate) fn check(prometheus: &Prometheus, time: Duration) -> Res<()> {
    let range = format!("{}ms", time.as_millis());
    let number = |expression: &str| -> Res<f64> {
        let expression = expression.replace("RANGE", &range);
        prometheus.value(&expression)?.ok_or_else(|| format!("{expression} has no value").into())
    };

    let n_scrapes = number("count_over_time(up{job=\"podproof\"}[RANGE])")?;
    let longest = number("max_over_time(scrape_duration_seconds{job=\"podproof\"}[RANGE])")?;
    println!("\n{n_scrapes} scrapes in {:.0} s, the longest one {longest:.2} s", time.as_secs_f64());
    let possible = time.as_secs_f64() / prometheus.interval().as_secs_f64();
    let mut wrong = Vec::new();
    if n_scrapes < possible * LEAST_SHARE {
        wrong.push(format!("{n_scrapes} scrapes are few: {possible:.0} were possible"));
    }

    // What the server has of a scrape is a series each; a series that is in it twice makes the other number larger.
    let own = "__name__!~\"up|scrape_.+|ALERTS.*\"";
    let step = format!("{}ms", prometheus.interval().as_millis());
    let twice =
        format!("(scrape_samples_scraped{{job=\"podproof\"}} - on () count({{job=\"podproof\",{own}}}))");
    for (expression, wanted) in [
        ("min_over_time(up{job=\"podproof\"}[RANGE])", 1.0),
        ("min(min_over_time(podproof_scrape_collector_success[RANGE]))", 1.0),
        (&format!("max_over_time({twice}[RANGE:{step}])"), 0.0),
        (&format!("min_over_time({twice}[RANGE:{step}])"), 0.0),
    ] {
        let found = number(expression)?;
        if found != wanted {
            wrong.push(format!("{expression} is {found}, not {wanted}"));
        }
    }

    let samples = prometheus::own()?;
    for name in REFUSED {
        let is_it = |series: &str| {
            series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        let all: Vec<_> = samples.iter().filter(|(series, _)| is_it(series)).collect();
        if all.is_empty() || all.iter().any(|(_, n)| **n != 0.0) {
            wrong.push(format!("{name}: {all:?}"));
        }
    }

    wrong.extend(decreased(prometheus, time)?.iter().map(|name| format!("{name} has decreased")));
    wrong.extend(targets_and_rules()?);
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ").into()) }
}

/// Counters of which a series has decreased in this time.
pub(crate) fn decreased(prometheus: &Prometheus, time: Duration) -> Res<Vec<String>> {
    let families = prometheus::api("metadata")?;
    let mut decreased = Vec::new();
    let mut n_counters = 0;
    for (family, descriptions) in families.as_object().into_iter().flatten() {
        let endings: &[&str] = match descriptions[0]["type"].as_str() {
            Some("counter") => &[""],
            Some("histogram") => &["_bucket", "_count", "_sum"],
            _ => &[],
        };
        for ending in endings {
            n_counters += 1;
            let name = format!("{family}{ending}");
            let resets = prometheus.value(&format!("sum(resets({name}[{}ms]))", time.as_millis()))?;
            if resets.is_some_and(|n| n > 0.0) {
                decreased.push(name);
            }
        }
    }
    if n_counters == 0 { Err("the server knows of no counters".into()) } else { Ok(decreased) }
}

/// Targets and rules that are not as they should be.
fn targets_and_rules() -> Res<Vec<String>> {
    let mut wrong = Vec::new();
    let targets = prometheus::api("targets?state=active")?;
    for target in targets["activeTargets"].as_array().ok_or("no targets")? {
        if target["health"] != "up" || target["lastError"] != "" {
            wrong.push(format!("a scrape has failed: {target}"));
        }
    }
    let rules = prometheus::api("rules?type=alert")?;
    let groups = rules["groups"].as_array().ok_or("no rules")?;
    for rule in groups.iter().flat_map(|group| group["rules"].as_array()).flatten() {
        if rule["health"] != "ok" {
            wrong.push(format!("a rule cannot be evaluated: {}: {}", rule["name"], rule["lastError"]));
        }
    }
    Ok(wrong)
}
