//! NS-34: the user namespace is the runtime's unless another is asked for.

use podproof_ebpf::event::NsKind;

use super::{matrix, users};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const MAPS: [&str; 2] = ["uid_map", "gid_map"];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-34",
    name: "the_user_namespace_is_inherited",
    level: Level::Must,
    statement: "Without a request the user namespace is the runtime's.",
    source: "runtime-spec config-linux.md#namespaces",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and the containers a and b, none of which lists a user namespace.",
    inside: "Each witness reads its /proc/self/ns/user, uid_map and gid_map; the sandbox's and the node's namespace are \
             read on the node.",
    kernel: "The user namespace that each program was executed in (sched_process_exec), and both maps of each process, \
             read from outside.",
    defects: &[(
        "ns-34-always-unshared",
        "a sandbox gets a user namespace of its own, with maps that change no id",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside: rule, kernel: rule },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(false, &["a", "b"])?;
    let mut evidence = Evidence::default();
    for member in &mut pod.members {
        users::maps(cell, &mut evidence, member)?;
    }
    for file in MAPS {
        let own = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
        facts::told(&mut evidence, &format!("{file}.node"), users::words(&own), "/proc/self of the suite");
    }
    let trace = cell.trace()?;
    matrix::node(&mut evidence, &[NsKind::User]);
    matrix::pod(&mut evidence, &trace, &pod, &[NsKind::User]);
    matrix::keep_trace(&mut evidence, &trace);
    Ok(evidence)
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let shared = matrix::shared(side, NsKind::User, &["node", "pause", "a", "b"])?;
    let maps = matrix::each(MAPS, |file| {
        let [node, a, b] = ["node", "a", "b"].map(|name| side.text(&format!("{file}.{name}")));
        let (node, a, b) = (node?, a?, b?);
        Ok(Finding::new(
            a == node && b == node,
            format!("{file} is the node's: `{node}`"),
            format!("{file} of a is `{a}`, of b `{b}`"),
        ))
    })?;
    Ok(shared.and(maps))
}
