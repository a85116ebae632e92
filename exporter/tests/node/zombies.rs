//! Zombies that change hands, and zombies whose cgroup is removed, whether the exporter has seen them end or found them.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::container::{Container, shell};
use crate::exporter::{Exporter, until};
use crate::pods::Pod;
use crate::process::{is_zombie, until_zombie};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("zombies::one_that_is_handed_on_is_of_the_new_parent", handed_on),
    ("zombies::an_older_one_that_is_handed_on_is_of_the_new_parent", older_handed_on),
    ("zombies::an_older_one_outlives_its_cgroup", older_outlives_its_cgroup),
    ("zombies::one_without_a_cgroup_is_of_what_is_around", older_than_the_end_of_its_cgroup),
];

/// A program that never reaps, and has a zombie.
const WORKER: &str = "(busybox true & exec busybox sleep 999) >/dev/null 2>&1 &";

/// A pod whose first process never reaps either.
fn pod(name: &'static str) -> Res<Pod> {
    Pod::run(name, "exec busybox sleep 1000", &[])
}

fn start_worker(name: &str, pod: &Pod) -> Res<()> {
    pod.podrt(&["exec", name, "-c", "main", "--", "sh", "-c", WORKER])
}

fn exporter(pod: &Pod) -> Res<Exporter> {
    Exporter::start(&["--path.podrt", &pod.root().display().to_string()])
}

/// The worker, when its child is a zombie.
fn worker(name: &str) -> Res<Pid> {
    let procs = PathBuf::from(format!("/sys/fs/cgroup/podrt-pods/{name}/main/cgroup.procs"));
    until("the worker's zombie", || {
        let is_worker = |pid: &&str| {
            let program = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            program.contains("999")
        };
        let listed = fs::read_to_string(&procs)?;
        let Some(pid) = listed.lines().find(is_worker) else { return Ok(None) };
        // Only its main thread can have children.
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let is_one = |child: &str| is_zombie(child).unwrap_or(false);
        Ok(if children.split_whitespace().any(is_one) { Some(Pid::from_raw(pid.parse()?)) } else { None })
    })
}

/// Zombies of the pod: of PID 1, and of others.
fn zombies(pod: &Pod, exporter: &Exporter) -> Res<[Option<f64>; 2]> {
    let scrape = exporter.scrape()?;
    let of =
        |parent: &str| scrape.get(&pod.series("zombie_processes", &format!("parent=\"{parent}\""))).copied();
    Ok([of("init"), of("other")])
}

/// The worker ends: it is a zombie of PID 1 then, and so is the one that it had.
fn check_handed_on(pod: &Pod, exporter: &Exporter, worker: Pid) -> Res<()> {
    let has = |wanted: [f64; 2]| {
        until(&format!("zombies of PID 1 and of others: {wanted:?}"), || {
            Ok((zombies(pod, exporter)? == wanted.map(Some)).then_some(()))
        })
    };
    has([0.0, 1.0])?;
    let age = || {
        Ok::<_, Box<dyn std::error::Error>>(
            exporter.scrape()?.get(&pod.series("zombie_oldest_age_seconds", "")).copied(),
        )
    };
    let before = age()?;
    kill(worker, Signal::SIGKILL)?;
    has([2.0, 0.0])?;
    let after = age()?;
    expect("it is older than before", before.is_some() && after > before, true)
}

fn handed_on() -> Res<()> {
    let pod = pod("orphaning")?;
    let exporter = exporter(&pod)?;
    start_worker("orphaning", &pod)?;
    check_handed_on(&pod, &exporter, worker("orphaning")?)
}

fn older_handed_on() -> Res<()> {
    let pod = pod("orphaned")?;
    start_worker("orphaned", &pod)?;
    let worker = worker("orphaned")?;
    check_handed_on(&pod, &exporter(&pod)?, worker)
}

fn older_outlives_its_cgroup() -> Res<()> {
    let container = Container::new("b".repeat(64))?;
    let mut child = shell(&container.path, "exit 0").spawn()?;
    until_zombie(&child)?;
    let exporter = Exporter::start(&[])?;
    let zombies = container.series("zombie_processes", "parent=\"other\"");
    let reaps = container.series("reaps_total", "reaper=\"parent\"");
    let tombstones = "podproof_tombstones";
    let scrape = exporter.scrape()?;
    expect(&zombies, scrape.get(&zombies).copied(), Some(1.0))?;
    expect(&reaps, scrape.get(&reaps).copied(), Some(0.0))?;
    container.remove()?;
    let scrape = until("the end of the cgroup", || {
        let after = exporter.scrape()?;
        Ok((after.get(tombstones) > scrape.get(tombstones)).then_some(after))
    })?;
    expect(&zombies, scrape.get(&zombies).copied(), Some(1.0))?;
    child.wait()?;
    let reaped = exporter.scrape()?;
    expect(&zombies, reaped.get(&zombies).copied(), Some(0.0))?;
    expect(&reaps, reaped.get(&reaps).copied(), Some(1.0))
}

/// Its cgroup is removed before anybody looks, and nothing but the host's is around it.
fn older_than_the_end_of_its_cgroup() -> Res<()> {
    let container = Container::new("c".repeat(64))?;
    let mut child = shell(&container.path, "exit 0").spawn()?;
    until_zombie(&child)?;
    container.remove()?;
    let exporter = Exporter::start(&[])?;
    let of_host = |parent: &str| {
        format!("podproof_zombie_processes{{namespace=\"\",pod=\"\",container=\"\",parent=\"{parent}\"}}")
    };
    let zombies = of_host("other");
    expect(&zombies, exporter.scrape()?.get(&zombies).copied(), Some(1.0))?;
    child.wait()?;
    expect(&zombies, exporter.scrape()?.get(&zombies).copied(), Some(0.0))
}
