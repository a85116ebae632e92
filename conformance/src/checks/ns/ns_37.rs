//! NS-37: clock offsets without a time namespace to set them in are an error.

use serde_json::json;

use super::{refused, times};
use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::Evidence;
use crate::judge::Rules;

/// The container without a time namespace.
const BAD: [&str; 1] = ["a"];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-37",
    name: "offsets_without_a_time_namespace_are_refused",
    level: Level::Must,
    statement: "timeOffsets without a new time namespace make create fail.",
    source: "runtime-spec config.md#valid-values; time_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container with a new time namespace and an offset of its monotonic clock is created and deleted. Then the \
               same bundle does not list the time namespace; should create succeed, it is started as well. A runtime \
               that declares a version of the specification without offsets is skipped.",
    inside: refused::INSIDE,
    kernel: refused::KERNEL,
    defects: &[("ns-37-ignored", "offsets without a time namespace are silently ignored")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    turn: Turn::Any,
    observe,
    rules: Rules { inside: |side| refused::inside(side, &BAD), kernel: |side| refused::kernel(side, &BAD) },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    times::need(cell)?;
    let bundle = |name: &str, source: NsSource| {
        let offset = json!({ "secs": 100, "nanosecs": 0 });
        times::versioned(Bundle::witness(name))
            .namespace("time", source)
            .with("/linux/timeOffsets/monotonic", offset)
    };
    let [bad] = BAD;
    refused::observe(cell, &bundle("b", NsSource::New), &[bundle(bad, NsSource::Inherited)])
}
