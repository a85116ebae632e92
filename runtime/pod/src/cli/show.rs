//! `ps` and `inspect`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use runtime::state::time::rfc3339;
use serde_json::{Value, json};

use super::args::Format;
use crate::command::observe::{Observed, PodState, observe};
use crate::plan::cgroup::qos_class;
use crate::spec::{ContainerKind, ContainerSpec};
use crate::state::{PodDir, PodRoot};
use crate::status::{ContainerState, ContainerStatus, Termination};

/// Prints JSON for people and programs.
pub(super) fn print_json(value: &Value) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out).context("write to standard output")
}

/// Lists the pods.
pub(super) fn ps(root: &PodRoot, format: Format, is_quiet: bool) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for pod in root.list()? {
        match observe(&pod) {
            Ok(observed) => rows.push((pod, Ok(observed))),
            // Removed meanwhile.
            Err(_) if !pod.path().exists() => {}
            Err(error) => rows.push((pod, Err(error))),
        }
    }
    if is_quiet {
        let names = rows.iter().map(|(pod, _)| pod.name());
        match format {
            Format::Json => print_json(&names.collect())?,
            Format::Table => names.for_each(|name| println!("{name}")),
        }
        return Ok(ExitCode::SUCCESS);
    }
    if format == Format::Json {
        let list = rows.iter().map(|(pod, row)| match row {
            Ok(observed) => of(pod, observed),
            Err(error) => json!({"name": pod.name(), "error": format!("{error:#}")}),
        });
        print_json(&Value::Array(list.collect()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = vec![["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP"].map(str::to_owned)];
    for (pod, row) in &rows {
        table.push(match row {
            Ok(observed) => line(pod, observed),
            Err(error) => {
                eprintln!("error: pod {}: {error:#}", pod.name());
                [pod.name(), "-", "Damaged", "-", "-", "-"].map(str::to_owned)
            }
        });
    }
    print_table(&table);
    Ok(ExitCode::SUCCESS)
}

/// Prints columns as wide as they need be.
pub(super) fn print_table<const N: usize>(rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("   ").trim_end());
    }
}

fn line(pod: &PodDir, observed: &Observed) -> [String; 6] {
    let containers = || observed.report.iter().flat_map(|report| &report.status.containers);
    let specs = || observed.record.iter().flat_map(|record| &record.spec.containers);
    let stays = |spec: &ContainerSpec| spec.kind != ContainerKind::Init;
    let n = specs().filter(|spec| stays(spec)).count();
    let ready = specs().zip(containers()).filter(|(spec, status)| stays(spec) && status.is_ready).count();
    let restarts: u32 = containers().map(|container| container.restart_count).sum();
    let record = observed.record.as_ref();
    let age = record.and_then(|record| SystemTime::now().duration_since(record.created).ok());
    [
        pod.name().to_owned(),
        format!("{ready}/{n}"),
        word(observed),
        restarts.to_string(),
        age.map_or_else(|| "-".to_owned(), short),
        record.and_then(crate::state::PodRecord::address).map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
    ]
}

/// The status in a word, as `kubectl get pods` shows it: what holds a pod up tells more than its phase.
fn word(observed: &Observed) -> String {
    let state = observed.state.to_string();
    if !matches!(observed.state, PodState::Created | PodState::Pending | PodState::Running) {
        return state;
    }
    let Some(report) = observed.report.as_ref().filter(|report| !report.is_finished) else { return state };
    let statuses = &report.status.containers;
    if observed.state == PodState::Pending
        && let Some(record) = &observed.record
        && let Some(word) = init_word(&record.spec.containers, statuses)
    {
        return word;
    }
    statuses.iter().find_map(bad_reason).map_or(state, str::to_owned)
}

/// Of the init containers and sidecars, how many are done with, or what is wrong with the next.
fn init_word(specs: &[ContainerSpec], statuses: &[ContainerStatus]) -> Option<String> {
    let all = specs.iter().zip(statuses).filter(|(spec, _)| spec.kind != ContainerKind::Main);
    let n = all.clone().count();
    let is_done = |spec: &ContainerSpec, status: &ContainerStatus| match &status.state {
        ContainerState::Running { .. } => spec.kind == ContainerKind::Sidecar && status.is_ready,
        ContainerState::Terminated(end) => spec.kind == ContainerKind::Init && end.exit_code == Some(0),
        ContainerState::Waiting { .. } => false,
    };
    let (done, (_, next)) = all.enumerate().find(|(_, (spec, status))| !is_done(spec, status))?;
    Some(match &next.state {
        ContainerState::Terminated(end) => format!("Init:{}", end.reason),
        _ => bad_reason(next).map_or_else(|| format!("Init:{done}/{n}"), |reason| format!("Init:{reason}")),
    })
}

/// Why a container waits, if that is something bad.
fn bad_reason(status: &ContainerStatus) -> Option<&str> {
    match &status.state {
        ContainerState::Waiting { reason, .. }
            if reason.ends_with("Error") || reason.ends_with("BackOff") =>
        {
            Some(reason)
        }
        _ => None,
    }
}

/// A duration in its largest unit.
fn short(duration: Duration) -> String {
    match duration.as_secs() {
        s @ 0..120 => format!("{s}s"),
        s @ 120..7200 => format!("{}m", s / 60),
        s @ 7200..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// Shows all about one pod.
pub(super) fn inspect(root: &PodRoot, name: &str) -> Result<ExitCode> {
    print_json(&document(&root.pod(name)?)?)?;
    Ok(ExitCode::SUCCESS)
}

/// All about one pod.
pub(super) fn document(pod: &PodDir) -> Result<Value> {
    Ok(of(pod, &observe(pod)?))
}

fn of(pod: &PodDir, observed: &Observed) -> Value {
    let mut value = json!({"name": pod.name(), "state": observed.state});
    if let Some(record) = &observed.record {
        let spec = &record.spec;
        value["namespace"] = json!(spec.namespace);
        value["uid"] = json!(record.uid);
        value["created"] = json!(rfc3339(record.created));
        value["labels"] = json!(spec.labels);
        value["annotations"] = json!(spec.annotations);
        value["network"] = json!(record.network);
        value["podIP"] = json!(record.address());
        value["qosClass"] = json!(qos_class(spec));
        value["cgroup"] = json!(record.cgroup().map(|path| path.to_string()).unwrap_or_default());
        value["directory"] = json!(pod.path());
    }
    let Some(report) = &observed.report else { return value };
    let status = &report.status;
    value["phase"] = json!(status.phase);
    value["reason"] = json!(status.reason);
    value["message"] = json!(status.message);
    value["sandboxPid"] = json!(report.sandbox_pid);
    value["containers"] = status.containers.iter().map(container).collect();
    value
}

fn container(status: &ContainerStatus) -> Value {
    let state = match &status.state {
        ContainerState::Waiting { reason, message } => {
            json!({"waiting": {"reason": reason, "message": message}})
        }
        ContainerState::Running { started_at } => json!({"running": {"startedAt": rfc3339(*started_at)}}),
        ContainerState::Terminated(end) => json!({"terminated": termination(end)}),
    };
    let mut value = json!({
        "name": status.name, "ready": status.is_ready, "restartCount": status.restart_count, "state": state,
    });
    if let Some(end) = &status.last_termination {
        value["lastState"] = json!({"terminated": termination(end)});
    }
    value
}

fn termination(end: &Termination) -> Value {
    json!({
        "exitCode": end.exit_code, "signal": end.signal, "reason": end.reason, "message": end.message,
        "startedAt": end.started_at.map(rfc3339), "finishedAt": rfc3339(end.finished_at),
    })
}
