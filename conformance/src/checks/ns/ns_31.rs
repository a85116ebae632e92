//! NS-31: one user namespace for a pod, with the maps that were asked for.

use podproof_ebpf::event::NsKind;

use super::{matrix, users};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const MEMBERS: [&str; 2] = ["a", "b"];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-31",
    name: "a_pod_has_one_user_namespace",
    level: Level::Must,
    statement: "When a user namespace is requested all containers of the pod share it and uid_map/gid_map equal the \
                requested mapping.",
    source: "runtime-spec config-linux.md#user-namespace-mappings; Kubernetes concepts/workloads/pods/user-namespaces",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox with a new user namespace, whose users and groups are mapped to two ranges of the node, and the \
               containers a and b, which join it by its path together with the others. Needs user namespaces.",
    inside: "Each witness reads its /proc/self/ns/user, uid_map and gid_map; the sandbox's and the node's namespace are \
             read on the node.",
    kernel: "The user namespace that each program was executed in (sched_process_exec), and both maps of each process, \
             read from outside.",
    defects: &[
        ("ns-31-own-userns", "a joining container gets a user namespace of its own with equal maps"),
        ("ns-31-uids-for-gids", "the map of the users is written for the groups, too"),
    ],
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
    let mut pod = users::pod(cell, &MEMBERS)?;
    let mut evidence = Evidence::default();
    for member in &mut pod.members {
        users::maps(cell, &mut evidence, member)?;
    }
    let trace = cell.trace()?;
    matrix::node(&mut evidence, &[NsKind::User]);
    matrix::pod(&mut evidence, &trace, &pod, &[NsKind::User]);
    matrix::keep_trace(&mut evidence, &trace);
    Ok(evidence)
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let own = facts::all_differ(side, "user namespace", &["user.node", "user.pause"])?;
    let shared = own.and(matrix::shared(side, NsKind::User, &["pause", "a", "b"])?);
    let maps = matrix::each(users::asked_maps(), |(file, wanted)| {
        matrix::each(MEMBERS, |name| {
            let map = side.text(&format!("{file}.{name}"))?;
            let expected = format!("{file} of {name} is `{wanted}`");
            Ok(Finding::new(map == wanted, expected, format!("{file} of {name} is `{map}`")))
        })
    })?;
    Ok(shared.and(maps))
}
