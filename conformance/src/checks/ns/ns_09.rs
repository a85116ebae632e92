//! NS-09: a namespace without a path is a new one, whatever its type.

use podproof_ebpf::event::EventKind;

use super::types::{self, REFUSABLE, kind_of};
use crate::bundle::NsSource;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

/// Twins, each with the types that are new for it. What a runtime may refuse stands alone.
const TWINS: [([&str; 2], &[&str]); 3] = [
    (["a", "b"], &["mount", "network", "ipc", "uts", "pid", "cgroup"]),
    (["c", "d"], &["user"]),
    (["e", "f"], &["time"]),
];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-09",
    name: "namespaces_without_a_path_are_new",
    level: Level::Must,
    statement: "A namespace type listed without a path is new: it differs from the runtime's and from any other \
                container's.",
    source: "runtime-spec config-linux.md#namespaces",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "The containers a and b list six types without a path, c and d the user namespace as well, e and f the \
               time namespace. A user or time namespace that the runtime refuses with an error, or that is newer \
               than the specification that it declares, is a skip with that reason.",
    inside: "Each witness reads its /proc/self/ns; those of the runtime's caller are read on the node.",
    kernel: "The namespaces that each program was executed in (sched_process_exec), against the caller's.",
    defects: &[("ns-09-time-ignored", "a time namespace without a path is silently ignored")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside: rule, kernel: rule },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut made = Vec::new();
    let mut refused = Vec::new();
    let mut reasons = Vec::new();
    for (names, listed) in TWINS {
        let sources: Vec<_> = listed.iter().map(|kind| (*kind, NsSource::New)).collect();
        match twins(cell, names, &sources)? {
            Ok(containers) => made.push((containers, listed)),
            Err(reason) => {
                refused.push(listed.join(", "));
                reasons.push(format!("{}: {reason}", listed.join(", ")));
            }
        }
    }
    // A runtime that makes no container at all says nothing about types.
    if made.is_empty() {
        return Err(Obstacle::Runtime(reasons.join("; ")));
    }
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    for (containers, listed) in &made {
        for kind in listed.iter().filter_map(|listed| kind_of(listed)) {
            facts::node_ns(&mut evidence, "node", std::process::id().cast_signed(), kind.proc_name());
            facts::kernel_node_ns(&mut evidence, kind.proc_name());
            for container in containers {
                facts::inside_ns(&mut evidence, container, kind.proc_name());
                facts::kernel_ns(&mut evidence, &trace, container, kind);
            }
        }
    }
    facts::told(&mut evidence, "refused", refused, "runtime: create");
    if !reasons.is_empty() {
        evidence.refused = Some(reasons.join("; "));
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Unshare { .. } | EventKind::NewTask { .. } | EventKind::Exec { .. })
    });
    Ok(evidence)
}

/// Two containers at the same time; the reason where the runtime refuses the first one.
fn twins(
    cell: &mut Cell<'_>,
    names: [&str; 2],
    sources: &[(&'static str, NsSource)],
) -> Result<Result<[Container; 2], String>, Obstacle> {
    let first = match types::container(cell, names[0], sources)? {
        Ok(first) => first,
        Err(reason) => return Ok(Err(reason)),
    };
    let second = types::container(cell, names[1], sources)?.map_err(Obstacle::Runtime)?;
    Ok(Ok([first, second]))
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let refused = side.texts("refused")?;
    if let Some(needed) = refused.iter().find(|types| !REFUSABLE.contains(types)) {
        return Ok(Finding::new(false, "the namespaces are made", format!("create with new {needed} fails")));
    }
    let made = TWINS.iter().filter(|(_, listed)| !refused.contains(&listed.join(", ").as_str()));
    let mut wanted = made
        .flat_map(|(names, listed)| listed.iter().filter_map(move |listed| Some((names, kind_of(listed)?))));
    wanted.try_fold(Finding::new(true, "", ""), |found, (names, kind)| {
        let keys = ["node", names[0], names[1]].map(|name| format!("{kind}.{name}"));
        let keys = keys.each_ref().map(String::as_str);
        Ok(found.and(facts::all_differ(side, &format!("{kind} namespace"), &keys)?))
    })
}
