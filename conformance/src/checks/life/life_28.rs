//! LIFE-28: the policy Never restarts nothing.

use super::restarts::{self, Case, End};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "LIFE-28",
    name: "never_restarts_nothing",
    level: Level::Must,
    statement: "restartPolicy Never restarts nothing.",
    source: "Kubernetes concepts/workloads/pods/pod-lifecycle#restart-policy",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with restartPolicy Never and three containers. One exits with 0, one with 1, and one is killed.",
    inside: "The restart count that the pod layer reports, and how often each witness called.",
    kernel: "How often each program was executed in its container's cgroup until the pod ended, the network namespaces \
             of these (sched_process_exec), and how the first one ended (sched_process_exit).",
    defects: &[("life-28-one-restart", "a program that failed is run once more")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Restarts,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

const CASES: &[Case] = &[
    Case { name: "zero", end: End::Code(0), again: false },
    Case { name: "one", end: End::Code(1), again: false },
    Case { name: "killed", end: End::Kill, again: false },
];

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    restarts::observe(cell, "Never", CASES)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    restarts::inside(side, CASES)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    restarts::kernel(side, CASES)
}
