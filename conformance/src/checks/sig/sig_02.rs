//! SIG-02: the sandbox program ends with code 0 on SIGINT.

use super::sandbox_end;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::checks::{Check, Scene, Turn};
use crate::judge::Rules;

const SIGINT: u32 = 2;

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-02",
    name: "sandbox_ends_on_sigint",
    level: Level::Must,
    statement: "The sandbox process exits with code 0 on SIGINT.",
    source: "Kubernetes build/pause (the pause program)",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox runs; the runtime sends it SIGINT.",
    inside: "Its wait status, taken by the suite as its reaper.",
    kernel: "SIGINT generated and not ignored, no SIGKILL before the end, and the code of its exit.",
    defects: &[("sig-02-only-term", "pause handles SIGTERM only; PID 1 ignores SIGINT then")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe: |cell| sandbox_end::observe(cell, "INT", SIGINT),
    rules: Rules { inside: sandbox_end::inside, kernel: sandbox_end::kernel },
};
