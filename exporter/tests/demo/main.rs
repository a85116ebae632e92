//! The shipped alerts with a real Prometheus: pods that do what each alert is about, until all of them fire; then the pods are
//! ended, until all alerts have resolved. Answers of PromQL are printed on the way. Meanwhile other pods come and go, and no scrape
//! may fail, nor lack a family. Then the exporter is ended and started again, the panels of the dashboard are filled, and at last it is
//! started with too little room, until the alert about itself fires.
//!
//! Runs in a VM by `cargo xtask exporter-demo`, which names the programs: `PODPROOF_EXPORTER`, `PODPROOF_PROMETHEUS`, `PODPROOF_PROMTOOL`,
//! `PODRT_POD` and `PODRT_PAUSE`. Minutes of the rules are seconds here (`shrink`). With `PODPROOF_DEMO_QUICK` it ends with the scrapes of
//! the first alerts.

mod blind;
mod churn;
mod exposition;
mod panel;
mod panels;
mod pods;
mod process;
mod prometheus;
#[path = "../support/promtool.rs"]
mod promtool;
mod restart;
mod scrapes;
mod shrink;
#[path = "../support/mod.rs"]
mod support;
mod values;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use panels::Shown;
use pods::{Pods, SCENES, STEADY, Scene};
use process::{Process, get};
use prometheus::Prometheus;
use restart::KEEPER;
use support::{Res, until};

/// Where the exporter listens by default.
const EXPORTER: &str = "127.0.0.1:9478";

/// How long it keeps the series of what is deleted by default: not to the end of the demo, once it is shortened as the rules are.
const RETENTION: &str = "10m";

/// How long the slowest alert may take to fire, and to resolve: it looks back for a minute and a half, in a machine that is emulated.
const PATIENCE: Duration = Duration::from_secs(300);

/// The pods of the quick form: their alerts resolve a few seconds after the pods have ended.
const QUICK: [&str; 2] = ["crowded", "leaky"];

/// Pods that come and go at least, for the time that the alerts take; fewer say nothing.
const GUESTS: usize = 5;
const QUICK_GUESTS: usize = 3;

/// Answers that are shown while the alerts fire: what is asked, and how.
const QUESTIONS: [(&str, &str); 8] = [
    ("zombies, and who should reap them", "sum by (pod, parent) (podproof_zombie_processes) > 0"),
    ("the oldest zombie, seconds", "max by (pod) (podproof_zombie_oldest_age_seconds) > 0"),
    ("ends of PID 1", "sum by (pod, reason) (podproof_init_exits_total{container!=\"POD\"}) > 0"),
    ("OOM kills", "sum by (pod, constraint) (podproof_oom_kills_total) > 0"),
    ("share of the pids limit", "max by (pod) (podproof_pids / podproof_pids_limit)"),
    ("processes made", "topk(3, sum by (pod) (podproof_forks_total{kind=\"process\",pod!=\"\"}))"),
    ("sandboxes whose first process is gone", "max by (pod) (podproof_sandbox_init_up) == 0"),
    (
        "namespaces made inside",
        "sum by (pod, namespace_type) (podproof_namespaces_created_total{container=\"main\"}) > 0",
    ),
];

fn main() -> ExitCode {
    let trials = vec![
        Trial::test("durations_are_shortened_and_nothing_else_is", || shrink::test().map_err(Failed::from)),
        Trial::ignorable_test("every_alert_fires_and_resolves", || {
            if std::env::var_os("PODPROOF_PROMETHEUS").is_none() {
                return Ok(Completion::ignored_with("runs in a VM by `cargo xtask exporter-demo`"));
            }
            let is_quick = std::env::var_os("PODPROOF_DEMO_QUICK").is_some();
            demo(is_quick).map(|()| Completion::Completed).map_err(Failed::from)
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// An alert, and the pod that it is about.
type Alert = (String, String);

fn demo(is_quick: bool) -> Res<()> {
    let is_played = |scene: &&Scene| !is_quick || QUICK.contains(&scene.pod);
    let scenes: Vec<&Scene> = SCENES.iter().filter(is_played).collect();
    let least = if is_quick { QUICK_GUESTS } else { GUESTS };
    // For the panels about what the probes cost.
    fs::write("/proc/sys/kernel/bpf_stats_enabled", "1")?;
    let dir = tempfile::tempdir()?;
    let pods = Pods::new(&dir.path().join("pods"))?;
    let start = |options: &[&str]| exporter(&pods, dir.path(), options);
    let exporter = start(&[])?;
    let prometheus = Prometheus::start(dir.path(), EXPORTER)?;
    let (began, began_at) = (Instant::now(), SystemTime::now());
    pods.run(&STEADY)?;

    let (fired_after, n_guests) =
        churn::during(&pods, &prometheus, least, || alerts(&pods, &prometheus, &scenes, began))?;
    scrapes::check(&prometheus, began.elapsed())?;
    let of = if is_quick { "the first alerts have" } else { "every alert has" };
    let what =
        format!("{of} fired and resolved, {n_guests} pods came and went, and every scrape has succeeded");
    say(began, &what);
    if is_quick {
        return none_but(&prometheus, &wanted(&scenes));
    }

    let restarted_after = began.elapsed();
    let exporter = restart::check(&pods, &prometheus, exporter, || start(&[]))?;
    none_but(&prometheus, &wanted(&scenes))?;
    say(began, "the exporter was ended and started again, and nothing looked as if it had happened then");

    let marks = [("all alerts fire", fired_after), ("the exporter is restarted", restarted_after)];
    let shown = Shown {
        began: began_at,
        marks: marks.map(|(what, after)| (what.to_owned(), after)).into(),
        moment: fired_after,
        time: began.elapsed(),
    };
    let records = panels::fill(&prometheus, &shown)?;
    if let Some(path) = std::env::var_os("PODPROOF_PANELS") {
        panels::write(&records, Path::new(&path))?;
    }
    panels::check(&records)?;
    say(began, "each panel of the dashboard has something to show");

    let _exporter = blind::check(&pods, &prometheus, exporter, start)?;
    let mut all = wanted(&scenes);
    all.insert(blind::alert());
    none_but(&prometheus, &all)?;
    say(
        began,
        "an exporter without room for all cgroups has set off the alert about itself, and it has resolved",
    );
    Ok(())
}

/// The alerts of these pods fire and resolve; how long after `began` all had fired.
fn alerts(pods: &Pods, prometheus: &Prometheus, scenes: &[&Scene], began: Instant) -> Res<Duration> {
    for scene in scenes {
        pods.run(scene)?;
        say(began, &format!("pod {}: {}", scene.pod, scene.what));
    }

    let wanted = wanted(scenes);
    let mut told = BTreeSet::new();
    let found = until("all alerts to fire", PATIENCE, || {
        let fired = fired(prometheus)?;
        for (alert, pod) in fired.difference(&told) {
            say(began, &format!("{alert} fires for {pod}"));
        }
        told.clone_from(&fired);
        Ok(wanted.is_subset(&fired).then_some(()))
    });
    for (title, query) in QUESTIONS {
        print!("\n{title}: {query}\n{}", prometheus.query(query)?.table());
    }
    println!();
    if found.is_err() {
        let silent: Vec<_> = wanted.difference(&told).collect();
        return Err(format!("these alerts did not fire: {silent:?}").into());
    }

    let fired_after = began.elapsed();
    prometheus.check_values()?;
    exposition::check()?;

    say(began, "the pods are ended");
    for scene in scenes {
        pods.remove(scene)?;
    }
    let mut left = wanted.clone();
    until("all alerts to resolve", PATIENCE, || {
        let now = firing(prometheus)?;
        for (alert, pod) in left.difference(&now) {
            say(began, &format!("{alert} has resolved for {pod}"));
        }
        left = now;
        Ok(left.is_empty().then_some(()))
    })
    .map_err(|error| format!("{error}: {left:?}"))?;
    Ok(fired_after)
}

/// Fails when an alert has fired that is none of these.
fn none_but(prometheus: &Prometheus, wanted: &BTreeSet<Alert>) -> Res<()> {
    let mut others: BTreeSet<_> = fired(prometheus)?.difference(wanted).cloned().collect();
    // On a slow machine it is true, with or without a restart.
    others.remove(&("ZombieStuck".to_owned(), KEEPER.to_owned()));
    if others.is_empty() {
        Ok(())
    } else {
        Err(format!("alerts that nothing was done for: {others:?}").into())
    }
}

/// The exporter as it is shipped, and with the one group that is not there by itself and these options; once it is ready.
fn exporter(pods: &Pods, dir: &Path, more: &[&str]) -> Res<Process> {
    let program = std::env::var_os("PODPROOF_EXPORTER").ok_or("PODPROOF_EXPORTER is not set")?;
    let root = pods.root().display().to_string();
    let retention = shrink::shrink(RETENTION);
    let mut options =
        vec!["--path.podrt", &root, "--retention.deleted", &retention, "--collector.throttle-histogram"];
    options.extend(more);
    let mut exporter = Process::start(&program, &options, &dir.join("exporter.log"))?;
    until("the exporter to be ready", PATIENCE, || {
        exporter.check()?;
        Ok(get(EXPORTER, "/-/ready").is_ok_and(|(code, _)| code == 200).then_some(()))
    })?;
    // Before it answers.
    exporter.has_said(&format!("msg=\"scrape http://{EXPORTER}/metrics\""))?;
    Ok(exporter)
}

fn wanted(scenes: &[&Scene]) -> BTreeSet<Alert> {
    let of = |scene: &&Scene| scene.alerts.iter().map(|alert| ((*alert).to_owned(), scene.pod.to_owned()));
    scenes.iter().flat_map(of).collect()
}

/// All alerts that have fired since the start.
fn fired(prometheus: &Prometheus) -> Res<BTreeSet<Alert>> {
    let past = "count by (alertname, pod) (last_over_time(ALERTS{alertstate=\"firing\"}[1h]))";
    Ok(prometheus.query(past)?.pairs("alertname", "pod"))
}

/// Those that fire now.
fn firing(prometheus: &Prometheus) -> Res<BTreeSet<Alert>> {
    let now = "count by (alertname, pod) (ALERTS{alertstate=\"firing\"})";
    Ok(prometheus.query(now)?.pairs("alertname", "pod"))
}

fn say(began: Instant, what: &str) {
    println!("{:6.1} s  {what}", began.elapsed().as_secs_f64());
}
