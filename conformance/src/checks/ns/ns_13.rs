//! NS-13: a type of namespace that is listed twice is an error.

use super::refused;
use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::Evidence;
use crate::judge::Rules;

const REQUIREMENT: Requirement = Requirement {
    id: "NS-13",
    name: "a_type_listed_twice_is_refused",
    level: Level::Must,
    statement: "Listing one namespace type twice makes create fail.",
    source: "runtime-spec config-linux.md#namespaces",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container that lists six types is created and deleted. Then the same bundle lists its new IPC \
               namespace twice (a), and a path after the new one (b); should create succeed, it is started as well.",
    inside: refused::INSIDE,
    kernel: refused::KERNEL,
    defects: &[("ns-13-last-wins", "of two entries of one type the last one is taken")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    turn: Turn::Any,
    observe,
    rules: Rules {
        inside: |side| refused::inside(side, &["a", "b"]),
        kernel: |side| refused::kernel(side, &["a", "b"]),
    },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let own = NsSource::Path(format!("/proc/{}/ns/ipc", std::process::id()));
    let bad = [("a", NsSource::New), ("b", own)].map(|(name, second)| {
        let mut bundle = Bundle::witness(name);
        bundle.namespaces.push(("ipc", second));
        bundle
    });
    refused::observe(cell, &Bundle::witness("control"), &bad)
}
