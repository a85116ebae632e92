//! NS-12: a path to nothing, or to something that is no namespace, is an error.

use std::fs;

use super::refused;
use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::Evidence;
use crate::judge::Rules;

const REQUIREMENT: Requirement = Requirement {
    id: "NS-12",
    name: "a_path_to_no_namespace_is_refused",
    level: Level::Must,
    statement: "A namespace path that does not exist, or is a regular file, makes create fail and leaves nothing \
                behind.",
    source: "runtime-spec config-linux.md#namespaces, runtime.md#create",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container that lists new namespaces is created and deleted. Then the same bundle has for its network \
               namespace a path that does not exist (a), and the path of a regular file (b); should create succeed, \
               it is started as well.",
    inside: refused::INSIDE,
    kernel: refused::KERNEL,
    defects: &[
        ("ns-12-falls-back", "a path that cannot be joined is replaced by a new namespace"),
        ("ns-12-no-rollback", "when a path does not exist, create fails and leaves its state and its cgroup"),
    ],
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
    let (missing, file) = (cell.dir().join("no-such-file"), cell.dir().join("regular-file"));
    fs::write(&file, "").map_err(|source| Obstacle::Node { op: "write", path: file.clone(), source })?;
    let bad = [("a", missing), ("b", file)]
        .map(|(name, path)| network(name, NsSource::Path(path.display().to_string())));
    refused::observe(cell, &network("control", NsSource::New), &bad)
}

fn network(name: &str, source: NsSource) -> Bundle {
    Bundle::witness(name).namespace("network", source)
}
