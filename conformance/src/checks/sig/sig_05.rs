//! SIG-05: a process that ignores the stop signal is killed when the grace period ends.

use super::grace;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-05",
    name: "ignoring_the_stop_signal_lasts_as_long_as_the_grace",
    level: Level::Must,
    statement: "A process that ignores the stop signal is killed when the grace period ends, not earlier and not much later.",
    source: "CRI api.proto StopContainer; Kubernetes concepts/workloads/pods/pod-lifecycle#pod-termination",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod whose program catches SIGTERM and goes on is stopped with a grace period of 2 s.",
    inside: "The program catches SIGTERM. It has not ended within the grace period after the call of stop, and ends soon after the \
             grace period that began when it told of the signal.",
    kernel: "The time from the SIGTERM to the SIGKILL that are generated for the program (signal_generate).",
    defects: &[
        ("sig-05-killed-at-once", "SIGKILL is sent at once"),
        ("sig-05-late", "the kill comes ten seconds late"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Stops,
    turn: Turn::First,
    observe,
    rules: Rules { inside, kernel },
};

/// The grace period, in seconds for `stop`.
const GRACE_SECONDS: &str = "2";
const GRACE_MS: u64 = 2000;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    grace::observe(cell, &["--time", GRACE_SECONDS], GRACE_MS)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    grace::inside(side, GRACE_MS)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    grace::kernel(side, GRACE_MS)
}
