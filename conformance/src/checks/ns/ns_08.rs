//! NS-08: a namespace that is not listed is the runtime's.

use podproof_ebpf::event::NsKind;

use super::types::TYPES;
use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "NS-08",
    name: "unlisted_namespaces_are_inherited",
    level: Level::Must,
    statement: "A namespace type that is absent from the list is inherited from the runtime.",
    source: "runtime-spec config-linux.md#namespaces",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container that lists a new mount namespace and nothing else. (The mount namespace is not left out: \
               what the runtime mounts and pivots would be the node's.)",
    inside: "The witness reads its /proc/self/ns; those of the runtime's caller are read on the node.",
    kernel: "The namespaces that the program was executed in (sched_process_exec), against the caller's.",
    defects: &[("ns-08-always-ipc", "a container gets a new IPC namespace even when none is listed")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside: rule, kernel: rule },
};

/// The types that the container does not list.
fn unlisted() -> impl Iterator<Item = (&'static str, NsKind)> {
    TYPES.into_iter().filter(|(_, kind)| *kind != NsKind::Mnt)
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let bundle = unlisted()
        .fold(Bundle::witness("a"), |bundle, (kind, _)| bundle.namespace(kind, NsSource::Inherited));
    let container = cell.container(&bundle)?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    for (_, kind) in unlisted() {
        let name = kind.proc_name();
        // The launcher, which calls the runtime, is in the same namespaces as the suite.
        facts::node_ns(&mut evidence, "node", std::process::id().cast_signed(), name);
        facts::kernel_node_ns(&mut evidence, name);
        facts::inside_ns(&mut evidence, &container, name);
        facts::kernel_ns(&mut evidence, &trace, &container, kind);
    }
    facts::keep_entries(&mut evidence, &trace);
    Ok(evidence)
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    unlisted().try_fold(Finding::new(true, "", ""), |found, (_, kind)| {
        let keys = [format!("{kind}.node"), format!("{kind}.a")];
        Ok(found.and(facts::all_equal(side, &format!("{kind} namespace"), &[&keys[0], &keys[1]])?))
    })
}
