//! LIFE-26: the policy Always restarts after any end.

use super::restarts::{self, Case, End};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "LIFE-26",
    name: "always_restarts_after_any_exit_code",
    level: Level::Must,
    statement: "restartPolicy Always restarts after any exit code.",
    source: "Kubernetes concepts/workloads/pods/pod-lifecycle#restart-policy",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with restartPolicy Always and two containers. One exits with 0, the other with 1.",
    inside: "The restart count that the pod layer reports, and how often each witness called.",
    kernel: "How often each program was executed in its container's cgroup until the pod ended, the network namespaces \
             of these (sched_process_exec), and how the first one ended (sched_process_exit).",
    defects: &[("life-26-exit-0-final", "an exit code of 0 is not restarted")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Restarts,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

const CASES: &[Case] = &[
    Case { name: "zero", end: End::Code(0), again: true },
    Case { name: "one", end: End::Code(1), again: true },
];

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    restarts::observe(cell, "Always", CASES)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    restarts::inside(side, CASES)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    restarts::kernel(side, CASES)
}
