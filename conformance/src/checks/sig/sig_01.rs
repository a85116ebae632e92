//! SIG-01: the sandbox program ends with code 0 on SIGTERM.

use super::sandbox_end;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::checks::{Check, Scene, Turn};
use crate::judge::Rules;

const SIGTERM: u32 = 15;

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-01",
    name: "sandbox_ends_on_sigterm",
    level: Level::Must,
    statement: "The sandbox process exits with code 0 on SIGTERM.",
    source: "Kubernetes build/pause (the pause program)",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox runs; the runtime sends it SIGTERM.",
    inside: "Its wait status, taken by the suite as its reaper.",
    kernel: "SIGTERM generated and not ignored, no SIGKILL before the end, and the code of its exit.",
    defects: &[("sig-01-deaf-pause", "pause has no handler for SIGTERM, which PID 1 then ignores")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe: |cell| sandbox_end::observe(cell, "TERM", SIGTERM),
    rules: Rules { inside: sandbox_end::inside, kernel: sandbox_end::kernel },
};
