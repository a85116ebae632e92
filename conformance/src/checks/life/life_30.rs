//! LIFE-30: init containers run one after another, each to success, before the others.

use std::fs;

use podproof_witness::Command;

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process::boot_ns;

const REQUIREMENT: Requirement = Requirement {
    id: "LIFE-30",
    name: "init_containers_run_in_order_to_success",
    level: Level::Must,
    statement: "Init containers run one after another, each to success, before any application container starts.",
    source: "Kubernetes concepts/workloads/pods/init-containers#detailed-behavior",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with restartPolicy OnFailure, the init containers first and second and the container a. first exits \
               with 1, runs again and exits with 0; then second exits with 0.",
    inside: "When each witness began (CLOCK_BOOTTIME, noted in a file), against when the one before it was told to succeed.",
    kernel: "The order of all execs and exits of the three (sched_process_exec, sched_process_exit).",
    defects: &[
        ("life-30-all-together", "init containers are started together with the others"),
        ("life-30-failure-is-enough", "an init container that failed counts as done"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Restarts,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// In the order in which they are to run.
const NAMES: [&str; 3] = ["first", "second", "a"];

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let manifest = NAMES.iter().fold(Manifest::new("pod").restarted("OnFailure"), |manifest, name| {
        let file = format!("/podproof/began-{name}");
        let words = ["mark", file.as_str(), "serve", "--name", name];
        if *name == "a" { manifest.container(name, &words) } else { manifest.init(name, &words) }
    });
    succeeded(&cell.try_pod("create", &manifest)?)?;
    let pod = cell.pod_name("pod");
    let patience = cell.deadline(5.0);
    let mut evidence = Evidence::default();
    let (_call, (succeeded_at, links)) =
        cell.call_pod_during(&["start", &pod], cell.deadline(60.0), |witnesses| {
            let mut links = Vec::new();
            let mut told = Vec::new();
            for (name, code) in [("first", 1), ("first", 0), ("second", 0)] {
                // Whoever does not come at its turn has come before, or never will.
                let Ok(mut link) = witnesses.hello(name, patience) else { continue };
                if code == 0 {
                    told.push((name, boot_ns()));
                }
                link.tell(Command::Exit { code })?;
                links.push(link);
            }
            links.extend(witnesses.hello("a", patience));
            Ok((told, links))
        })?;
    for (name, at) in succeeded_at {
        evidence.inside(&format!("succeeds.{name}"), at, "suite: when it told the witness to exit with 0");
    }
    for name in NAMES {
        let path = cell.shared_dir().join(format!("began-{name}"));
        let text = fs::read_to_string(&path).unwrap_or_default();
        let began: Vec<u64> = text.lines().filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        evidence.inside(
            &format!("began.{name}"),
            began,
            format!("witness {name}: CLOCK_BOOTTIME at its start"),
        );
    }
    // Without its connection the witness would end, and be restarted.
    drop(links);
    let document = cell.document(&pod)?;
    cell.call_pod(&["stop", "--time", "0", &pod])?;
    let trace = cell.trace()?;
    for name in NAMES {
        let lives = pods::lives(&trace, &document.cgroup_of(name));
        let execs: Vec<u64> = lives.iter().map(|life| life.exec.event.seq).collect();
        let ends: Vec<u64> = lives.iter().filter_map(|life| Some(life.end?.event.seq)).collect();
        let codes: Vec<u32> = lives.iter().filter_map(pods::Life::code).collect();
        evidence.kernel(
            &format!("execs.{name}"),
            execs,
            "tp_btf/sched_process_exec, places in the order of all events",
        );
        evidence.kernel(
            &format!("ends.{name}"),
            ends,
            "tp_btf/sched_process_exit, places in the order of all events",
        );
        evidence.kernel(&format!("codes.{name}"), codes, "tp_btf/sched_process_exit");
    }
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let [first, second, a] = [0, 1, 2].map(|at| side.numbers(&format!("began.{}", NAMES[at])));
    let (first, second, a) = (first?, second?, a?);
    let expected = "second begins after first was told to succeed, and a after second was";
    if first.is_empty() {
        return Err(Gap("the start of first".to_owned()));
    }
    let (Ok(ready), Ok(done)) = (side.number("succeeds.first"), side.number("succeeds.second")) else {
        let observed = format!("first ran {} times, second {}, a {}", first.len(), second.len(), a.len());
        return Ok(Finding::new(false, expected, observed));
    };
    let early = |list: &[u64], limit: u64| list.iter().filter(|at| **at < limit).count();
    let (early_second, early_a) = (early(&second, ready), early(&a, done));
    let ran = first.len() == 2 && second.len() == 1 && a.len() == 1;
    Ok(Finding::new(
        ran && early_second + early_a == 0,
        expected,
        format!(
            "first ran {} times, second {}, a {}; too early: second {early_second}, a {early_a}",
            first.len(),
            second.len(),
            a.len()
        ),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let expected = "first twice with 1 and 0, then second with 0, then a";
    let execs: Vec<Vec<u64>> =
        NAMES.iter().map(|name| side.numbers(&format!("execs.{name}"))).collect::<Result<_, _>>()?;
    let ends: Vec<Vec<u64>> =
        NAMES.iter().map(|name| side.numbers(&format!("ends.{name}"))).collect::<Result<_, _>>()?;
    let (first, second) = (side.numbers("codes.first")?, side.numbers("codes.second")?);
    let after = |at: usize| {
        let done = ends[at - 1].iter().max().copied().unwrap_or(u64::MAX);
        execs[at].iter().all(|exec| *exec > done)
    };
    let codes = first == [1, 0] && second == [0];
    let holds = codes && !execs[2].is_empty() && after(1) && after(2);
    let observed =
        format!("execs at {execs:?}, ends at {ends:?}, codes of first {first:?}, of second {second:?}");
    Ok(Finding::new(holds, expected, observed))
}
