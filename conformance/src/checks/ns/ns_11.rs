//! NS-11: a path to a namespace of another type is an error.

use super::refused;
use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::Evidence;
use crate::judge::Rules;

const REQUIREMENT: Requirement = Requirement {
    id: "NS-11",
    name: "a_path_of_another_type_is_refused",
    level: Level::Must,
    statement: "A path that is a namespace of another type makes create fail and leaves no container.",
    source: "runtime-spec config-linux.md#namespaces",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container that joins the node's network namespace by path is created and deleted. Then the same \
               bundle has the path of the node's UTS namespace in that place; should create succeed, it is \
               started as well.",
    inside: refused::INSIDE,
    kernel: refused::KERNEL,
    defects: &[
        ("ns-11-any-type", "the path is joined as the type that it is, whatever the bundle says"),
        ("ns-11-crashes", "a create that has to be refused crashes, and leaves nothing"),
    ],
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
    let own = |kind: &str| NsSource::Path(format!("/proc/{}/ns/{kind}", std::process::id()));
    let joining = |name: &str, kind: &str| {
        Bundle::witness(name).namespace("uts", NsSource::Inherited).namespace("network", own(kind))
    };
    refused::observe(cell, &joining("control", "net"), &[joining("a", "uts")])
}
