//! REAP-08: exit codes are reported exactly.

use super::codes;
use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-08",
    name: "exit_codes_are_reported_exactly",
    level: Level::Must,
    statement: "The exit code of every container is reported exactly, process sharing or not (0, 1, 42, 255).",
    source: "runtime-spec runtime.md#lifecycle; CRI ContainerStatus exit_code; Kubernetes restart policy",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "Two pods, one of which shares its PIDs, each with four containers that exit with 0, 1, 42 and 255.",
    inside: "The exit codes that the pod layer reports, against those that the programs were told to exit with.",
    kernel: "The wait status of each program (sched_process_exit), against what is reported.",
    defects: &[("reap-08-reports-zero", "every exit code is reported as 0")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Restarts,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// Containers and their codes.
const CODES: [(&str, &str); 4] = [("c0", "0"), ("c1", "1"), ("c42", "42"), ("c255", "255")];
/// What is to be reported, by pod and container.
const WANTED: &[(&str, u64)] = &[
    ("own.c0", 0),
    ("own.c1", 1),
    ("own.c42", 42),
    ("own.c255", 255),
    ("shared.c0", 0),
    ("shared.c1", 1),
    ("shared.c42", 42),
    ("shared.c255", 255),
];

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut documents = Vec::new();
    for (pod, shares) in [("own", false), ("shared", true)] {
        let containers = CODES
            .iter()
            .fold(Manifest::new(pod), |manifest, (name, code)| manifest.container(name, &["exit", code]));
        // It says by its status that containers failed.
        cell.try_pod("run", &containers.with("/spec/shareProcessNamespace", shares))?;
        let name = cell.pod_name(pod);
        let document = cell.await_document(&name, cell.deadline(10.0), |document| {
            document.containers.iter().all(|container| container.state.terminated.is_some())
        })?;
        documents.push((pod, document));
    }
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    for (pod, document) in &documents {
        for (name, _) in CODES {
            codes::add(&mut evidence, &trace, document, name, &format!("{pod}.{name}"));
        }
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
