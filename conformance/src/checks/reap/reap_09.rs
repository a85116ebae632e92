//! REAP-09: death by signal n is reported as 128 + n.

use nix::sys::signal::Signal;

use super::codes;
use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-09",
    name: "death_by_signal_is_reported_as_128_and_its_number",
    level: Level::Must,
    statement: "Death by signal n is reported as 128+n.",
    source: "docker run and podman run, exit status; CRI ContainerStatus exit_code in practice",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod that shares its PIDs, so that no container has the protection of PID 1, with three containers that are \
               ended from the node by SIGKILL, SIGTERM and SIGSEGV.",
    inside: "The exit codes that the pod layer reports.",
    kernel: "The wait status of each program (sched_process_exit), against what is reported.",
    defects: &[("reap-09-bare-number", "the number of the signal alone is reported")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Restarts,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// Containers and what ends them.
const SIGNALS: [(&str, Signal); 3] =
    [("kill", Signal::SIGKILL), ("term", Signal::SIGTERM), ("segv", Signal::SIGSEGV)];
const WANTED: &[(&str, u64)] = &[("kill", 137), ("term", 143), ("segv", 139)];

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let manifest = Manifest::of_witnesses("pod", &SIGNALS.map(|(name, _)| name));
    let pod = cell.start_pod(&manifest.with("/spec/shareProcessNamespace", true))?;
    for (member, (_, signal)) in pod.members.iter().zip(SIGNALS) {
        pods::signal(member, signal)?;
    }
    let document = cell.await_document(&pod.name, cell.deadline(10.0), |document| {
        document.containers.iter().all(|container| container.state.terminated.is_some())
    })?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    for (name, _) in SIGNALS {
        codes::add(&mut evidence, &trace, &document, name, name);
    }
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    codes::inside(side, WANTED)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    codes::kernel(side, WANTED)
}
