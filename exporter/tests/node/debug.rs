//! The pages for who looks for a fault.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::container::Container;
use crate::exporter::{Exporter, SERVE, until};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("debug::maps_and_tables_say_what_metrics_are_made_of", maps_and_tables),
    ("debug::without_the_option_there_is_no_page", without_the_option),
    ("debug::other_machines_are_not_shown_them", other_machines),
];

const ENABLE: &str = "--web.enable-debug";

/// Fields of the pages: who reads them by program relies on them.
const FIELDS: [(&str, &[&str]); 2] = [
    (
        "/debug/maps",
        &["at_ns", "cgroups", "fill", "flag_sets", "node", "refused", "rest", "unavailable", "zombies"],
    ),
    ("/debug/tables", &["at_ns", "cgroups", "series", "zombies_of_proc"]),
];

fn page(exporter: &Exporter, path: &str) -> Res<Value> {
    let (code, text) = exporter.get(path)?;
    expect(path, code, 200)?;
    Ok(serde_json::from_str(&text)?)
}

/// The entry of a list that has this value in this field.
fn entry(page: &Value, list: &str, field: &str, value: &Value) -> Res<Option<Value>> {
    let entries = page[list]["entries"].as_array().ok_or_else(|| format!("{list} has no entries"))?;
    Ok(entries.iter().find(|entry| entry[field] == *value).cloned())
}

fn maps_and_tables() -> Res<()> {
    let exporter = Exporter::start(&[ENABLE])?;
    for (path, fields) in FIELDS {
        let page = page(&exporter, path)?;
        let found: BTreeSet<&str> = page.as_object().ok_or("no object")?.keys().map(String::as_str).collect();
        expect(path, found, fields.iter().copied().collect())?;
    }
    let container = Container::new("e".repeat(64))?;
    let path = json!(format!("docker/{}", container.id));
    let row = |exporter: &Exporter| entry(&page(exporter, "/debug/tables")?, "cgroups", "path", &path);
    let named = until("the container", || Ok(row(&exporter)?.filter(|row| row["state"] == "named")))?;
    let series = json!({ "namespace": "", "pod": "", "container": &container.id[..12] });
    let shown = [&named["series"], &named["place"], &named["is_top"], &named["removed_at_ns"]];
    expect("the container's cgroup", shown, [&series, &json!("container"), &json!(true), &Value::Null])?;

    container.run(10)?;
    let maps = page(&exporter, "/debug/maps")?;
    let id = &named["cgroup_id"];
    let counted = entry(&maps, "cgroups", "cgroup_id", id)?.ok_or("the container is not counted")?;
    expect("execs", &counted["counters"]["execs"], &json!(10))?;
    expect("counters of 0", counted["counters"].get("oom_kills_memcg"), None)?;
    let all = maps["node"]["execs"].as_u64();
    expect("the node has at least as many execs", all >= Some(10), true)?;
    let shown = entry(&page(&exporter, "/debug/tables")?, "series", "container_id", &json!(container.id))?
        .ok_or("the container has no series")?;
    expect("its cgroups", &shown["cgroup_ids"], &json!([id]))?;
    expect("its type", &shown["container_type"], &json!("app"))?;

    container.remove()?;
    let gone = until("the end", || Ok(row(&exporter)?.filter(|row| row["state"] == "tombstone")))?;
    let is_later = gone["removed_at_ns"].as_u64() > gone["seen_at_ns"].as_u64();
    expect("it was removed after it was seen", is_later, true)?;
    let requests = exporter.scrape()?;
    let is_counted = requests.contains_key("podproof_http_requests_total{handler=\"debug\",code=\"200\"}");
    expect("the pages are counted", is_counted, true)
}

fn without_the_option() -> Res<()> {
    let exporter = Exporter::start(&[])?;
    for (path, _) in FIELDS {
        expect(path, exporter.get(path)?.0, 404)?;
    }
    Ok(())
}

fn other_machines() -> Res<()> {
    let output = Command::new(std::env::current_exe()?)
        .args([SERVE, ENABLE, "--web.insecure-listen", "--web.listen-address", "0.0.0.0:9478"])
        .output()?;
    expect("exit code", output.status.code(), Some(1))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let is_told =
        text.contains("--web.enable-debug: 0.0.0.0:9478 can be reached from other machines; listen on");
    if is_told { Ok(()) } else { Err(text.into_owned().into()) }
}
