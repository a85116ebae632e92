//! NS-33: pods with user namespaces have different ids of the node.

use podproof_ebpf::event::NsKind;

use super::{id_ranges, matrix, unsupported, users};
use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

/// The container of each pod.
const NAMES: [&str; 2] = ["a", "b"];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-33",
    name: "two_pods_have_different_ids_of_the_node",
    level: Level::Must,
    statement: "Two pods with user namespaces get host ID ranges that do not overlap.",
    source: "Kubernetes concepts/workloads/pods/user-namespaces#introduction",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "Two pods with hostUsers false that live at the same time, one with the container a, the other with b. Skipped \
               where the pod layer refuses hostUsers.",
    inside: "Each witness reads its /proc/self/ns/user, uid_map and gid_map: both are in user namespaces of their own, and no \
             id of the node is in both maps.",
    kernel: "The same for the user namespace that each program was executed in (sched_process_exec), and for both maps of \
             each process, read from outside.",
    defects: &[(
        "ns-33-fixed-range",
        "every pod with a user namespace gets the same range of ids of the node",
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
    users::need()?;
    let mut containers = Vec::new();
    for name in NAMES {
        let pod = format!("of-{name}");
        let manifest = Manifest::of_witnesses(&pod, &[name]).with("/spec/hostUsers", false);
        unsupported::run(cell, &manifest, "hostUsers")?;
        containers.push(cell.member(&cell.pod_name(&pod), name)?);
    }
    let mut evidence = Evidence::default();
    for container in &mut containers {
        users::maps(cell, &mut evidence, container)?;
    }
    let trace = cell.trace()?;
    matrix::node(&mut evidence, &[NsKind::User]);
    for container in &containers {
        matrix::container(&mut evidence, &trace, container, &[NsKind::User]);
    }
    matrix::keep_trace(&mut evidence, &trace);
    Ok(evidence)
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let own = facts::all_differ(side, "user namespace", &["user.node", "user.a", "user.b"])?;
    let apart = matrix::each(["uid_map", "gid_map"], |file| id_ranges::apart(side, file, NAMES))?;
    Ok(own.and(apart))
}
