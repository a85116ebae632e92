//! PID-03: `/proc` shows the container's processes, all of them and no others.

use std::path::PathBuf;

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use super::census::{census, comparison, exact};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;

/// Children of the witness in its own PID namespace.
const SLEEPERS: u32 = 3;
/// The two comparisons; they are made at different moments, so each has its own name.
const INSIDE: &str = "listed.inside";
const NODE: &str = "listed.outside";

const REQUIREMENT: Requirement = Requirement {
    id: "PID-03",
    name: "proc_lists_exactly_the_containers_processes",
    level: Level::Must,
    statement: "/proc in a container lists exactly the processes of its PID namespace and of those nested in it.",
    source: "pid_namespaces(7) /proc and PID namespaces; runtime-spec config-linux.md#namespaces",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "One container with a new PID namespace, whose program forks three children that sleep and one in a \
               PID namespace nested in its own.",
    inside: "The numbers that /proc lists, against those of the program and of the children that it knows.",
    kernel: "A census of the PID namespace and of those nested in it (creations less ends), against the entries of \
             the file system on the container's /proc, read from the node through /proc/PID/root.",
    defects: &[("pid-03-node-proc", "the node's /proc is bind-mounted")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut container = cell.alone("a")?;
    let timeout = cell.deadline(10.0);
    let link = container.witness()?;
    let sleepers: Vec<u64> =
        link.ask_as(Command::ForkSleepers { count: SLEEPERS, sessions: false }, timeout)?;
    let nested: u64 = link.ask_as(Command::ForkNested, timeout)?;
    let names: Vec<String> = link.ask_as(Command::ListDir { path: "/proc".to_owned() }, timeout)?;
    let known = sleepers.into_iter().chain([nested, link.hello.birth.pid.into()]).collect();
    let listed = names.iter().filter_map(|name| name.parse().ok()).collect();
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    for (key, value) in comparison(&known, &listed) {
        evidence.inside(
            &format!("{INSIDE}.{key}"),
            value,
            "witness a: entries of /proc against the processes that it made",
        );
    }
    let pid = container.outer_pid();
    if let Some(census) = trace.exec_of(pid, &container.program).and_then(|exec| census(&trace, &exec)) {
        let proc = PathBuf::from(format!("/proc/{pid}/root/proc"));
        let listed = process::listed_pids(&proc).map_err(|source| Obstacle::Node {
            op: "list",
            path: proc.clone(),
            source,
        })?;
        for (key, value) in comparison(&census, &listed.into_iter().collect()) {
            let source = format!("{} against tp_btf/task_newtask and sched_process_exit", proc.display());
            evidence.kernel(&format!("{NODE}.{key}"), value, source);
        }
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::NewTask { .. } | EventKind::Exit { .. } | EventKind::Mount { .. })
    });
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    exact(side, INSIDE, SLEEPERS + 2)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    exact(side, NODE, SLEEPERS + 2)
}
