//! NS-14: a relative path is an error.

use super::refused;
use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::Evidence;
use crate::judge::Rules;

/// Leads to the root from every directory that a runtime may start at.
const UP: &str = "../../../../../../../../../../../../../../../..";

const REQUIREMENT: Requirement = Requirement {
    id: "NS-14",
    name: "a_relative_path_is_refused",
    level: Level::Must,
    statement: "A relative namespace path makes create fail.",
    source: "runtime-spec config-linux.md#namespaces (the path must be absolute), config.md#valid-values",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container that joins the suite's IPC namespace by path is created and deleted. Then the same bundle \
               has the relative path of that namespace, which leads there from every directory; should create \
               succeed, it is started as well.",
    inside: refused::INSIDE,
    kernel: refused::KERNEL,
    defects: &[("ns-14-own-cwd", "a relative path is resolved against the runtime's working directory")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    turn: Turn::Any,
    observe,
    rules: Rules {
        inside: |side| refused::inside(side, &["a"]),
        kernel: |side| refused::kernel(side, &["a"]),
    },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let path = format!("/proc/{}/ns/ipc", std::process::id());
    let joining = |name: &str, path: String| Bundle::witness(name).namespace("ipc", NsSource::Path(path));
    refused::observe(cell, &joining("control", path.clone()), &[joining("a", format!("{UP}{path}"))])
}
