//! NS-10: a namespace with a path is joined, whatever its type.

use std::collections::BTreeMap;

use podproof_ebpf::event::NsKind;

use super::types::{self, REFUSABLE, TYPES, kind_of};
use crate::bundle::NsSource;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::helper::Holders;
use crate::judge::{Finding, Rules};
use crate::observe::process::ns_at;

/// The containers, each with the types that it joins. What a runtime may refuse stands alone.
const CONTAINERS: [(&str, &[&str]); 3] =
    [("a", &["mount", "network", "ipc", "uts", "pid", "cgroup"]), ("b", &["user"]), ("c", &["time"])];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-10",
    name: "paths_of_all_types_are_joined",
    level: Level::Must,
    statement: "A namespace listed with a path places the container process in exactly that namespace, for each \
                of the eight types.",
    source: "runtime-spec config-linux.md#namespaces",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "The suite holds a new namespace of each type. Container a lists six of them by path, b the user \
               namespace, c the time namespace. A user or time namespace that the runtime refuses with an \
               error, or that is newer than the specification that it declares, is a skip with that reason.",
    inside: "Each witness reads its /proc/self/ns, and the suite took the identity of each path before create.",
    kernel: "The namespaces that each program was executed in (sched_process_exec), against the same paths.",
    defects: &[("ns-10-cgroup-forgotten", "the path of a cgroup namespace is opened and never joined")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside: rule, kernel: rule },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let holders = cell.hold_namespaces()?;
    let evidence = play(cell, &holders);
    cell.end_processes(&[holders.user, holders.others])?;
    evidence
}

fn play(cell: &mut Cell<'_>, holders: &Holders) -> Result<Evidence, Obstacle> {
    let mut evidence = Evidence::default();
    let paths = paths(&mut evidence, holders)?;
    let mut made = Vec::new();
    let mut refused = Vec::new();
    let mut reasons = Vec::new();
    for (name, types) in CONTAINERS {
        match join(cell, name, types, &paths)? {
            Ok(container) => made.push((container, types)),
            Err(reason) => {
                refused.push(types.join(", "));
                reasons.push(format!("{}: {reason}", types.join(", ")));
            }
        }
    }
    // A runtime that makes no container at all says nothing about types.
    if made.is_empty() {
        return Err(Obstacle::Runtime(reasons.join("; ")));
    }
    let trace = cell.trace()?;
    for (container, types) in &made {
        for (_, kind) in TYPES.into_iter().filter(|(listed, _)| types.contains(listed)) {
            facts::inside_ns(&mut evidence, container, kind.proc_name());
            facts::kernel_ns(&mut evidence, &trace, container, kind);
        }
    }
    if !reasons.is_empty() {
        evidence.inside("why", reasons.join("; "), "runtime: create, its last words");
    }
    evidence.inside("refused", refused.clone(), "runtime: create");
    evidence.kernel("refused", refused, "runtime: create");
    if !reasons.is_empty() {
        evidence.refused = Some(reasons.join("; "));
    }
    facts::keep_entries(&mut evidence, &trace);
    Ok(evidence)
}

/// The path of each type, noting what it leads to.
fn paths(evidence: &mut Evidence, holders: &Holders) -> Result<BTreeMap<&'static str, String>, Obstacle> {
    TYPES
        .into_iter()
        .map(|(name, kind)| {
            let holder = if kind == NsKind::User { holders.user } else { holders.others };
            // Nobody is in the time namespace yet: unshare(2) makes it for the children only.
            let file = if kind == NsKind::Time { NsKind::TimeForChildren } else { kind };
            let path = format!("/proc/{holder}/ns/{file}");
            let id = ns_at(path.as_ref()).map_err(|source| Obstacle::Node {
                op: "stat",
                path: path.clone().into(),
                source,
            })?;
            let key = format!("{kind}.path");
            evidence.inside(&key, id.ino, format!("node: stat {path}, before create"));
            evidence.kernel(&key, id.ino, format!("nsfs inode of {path}, before create"));
            Ok((name, path))
        })
        .collect()
}

/// A container that joins these types; the reason where the runtime refuses to make it.
fn join(
    cell: &mut Cell<'_>,
    name: &str,
    types: &[&'static str],
    paths: &BTreeMap<&'static str, String>,
) -> Result<Result<Container, String>, Obstacle> {
    let path = |kind: &str| NsSource::Path(paths.get(kind).cloned().unwrap_or_default());
    let sources: Vec<_> = types.iter().map(|kind| (*kind, path(kind))).collect();
    types::container(cell, name, &sources)
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let refused = side.texts("refused")?;
    if let Some(needed) = refused.iter().find(|types| !REFUSABLE.contains(types)) {
        return Ok(Finding::new(
            false,
            "the paths are joined",
            format!("create with {needed} by path fails"),
        ));
    }
    let joined = CONTAINERS.iter().filter(|(_, types)| !refused.contains(&types.join(", ").as_str()));
    let none = Finding::new(true, "", "");
    joined.flat_map(|(name, types)| types.iter().map(move |listed| (name, listed))).try_fold(
        none,
        |found, (name, listed)| {
            let Some(kind) = kind_of(listed) else { return Ok(found) };
            let (path, own) = (format!("{kind}.path"), format!("{kind}.{name}"));
            Ok(found.and(facts::all_equal(side, &format!("{kind} namespace"), &[&path, &own])?))
        },
    )
}
