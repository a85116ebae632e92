//! SIG-13: the default grace period of a pod is 30 s.

use super::grace;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-13",
    name: "the_default_grace_of_a_pod_is_30_s",
    level: Level::Must,
    statement: "Default grace is 30 s for a Kubernetes pod and 10 s for podman and docker stop.",
    source: "Kubernetes concepts/workloads/pods/pod-lifecycle#pod-termination; podman-stop(1)",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod whose manifest gives no terminationGracePeriodSeconds and whose program catches SIGTERM and goes on is \
               stopped, without a grace period in the call.",
    inside: "The program catches SIGTERM. It has not ended within 30 s after the call of stop, and ends soon after the 30 s \
             that began when it told of the signal.",
    kernel: "The time from the SIGTERM to the SIGKILL that are generated for the program (signal_generate).",
    defects: &[("sig-13-ten-seconds", "the default grace period of a pod is 10 s")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Stops,
    turn: Turn::First,
    observe,
    rules: Rules { inside, kernel },
};

/// `terminationGracePeriodSeconds` of a manifest without it (Kubernetes API, PodSpec), in milliseconds.
const GRACE_MS: u64 = 30_000;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    grace::observe(cell, &[], GRACE_MS)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    grace::inside(side, GRACE_MS)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    grace::kernel(side, GRACE_MS)
}
