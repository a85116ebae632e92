//! NS-30: the cgroup namespace begins at the final cgroup.

use std::collections::BTreeMap;

use podproof_ebpf::event::{Event, EventKind, NsKind};

use super::matrix;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle};
use crate::checks::{Check, Scene, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::Trace;

/// What /proc/self/cgroup says in the root of a cgroup namespace (cgroup_namespaces(7)).
const ROOT: &str = "0::/";
/// `CLONE_NEWCGROUP` (clone(2)).
const CLONE_NEWCGROUP: u64 = 0x0200_0000;
const NAMES: [&str; 2] = ["a", "b"];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-30",
    name: "the_cgroup_namespace_comes_last",
    level: Level::Must,
    statement: "The cgroup namespace is created after the process is in its final cgroup, so no /.. component and no host \
                path shows.",
    source: "cgroup_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and the containers a and b, each with a new cgroup namespace.",
    inside: "Each witness's /proc/self/cgroup is 0::/, and no more.",
    kernel: "The cgroup that the maker of each cgroup namespace was in at that moment (task_newtask, cgroup_attach_task, \
             unshare) is the one that the program was executed in (sched_process_exec).",
    defects: &[(
        "ns-30-unshared-first",
        "the cgroup namespace is made before the process is moved to its cgroup",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    serial: false,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let pod = cell.pod(false, &NAMES)?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    matrix::node(&mut evidence, &[NsKind::Cgroup]);
    matrix::pod(&mut evidence, &trace, &pod, &[NsKind::Cgroup]);
    for member in &pod.members {
        let view = member.link.as_ref().and_then(|link| link.hello.birth.cgroup.as_deref());
        if let Some(view) = view {
            let source = format!("witness {}: /proc/self/cgroup", member.name);
            evidence.inside(&format!("view.{}", member.name), view.trim_end(), source);
        }
        made_in(&mut evidence, &trace, member);
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(
            kind,
            EventKind::CgroupMkdir { .. }
                | EventKind::CgroupAttach { .. }
                | EventKind::Unshare { .. }
                | EventKind::Setns { .. }
                | EventKind::Exec { .. }
        )
    });
    Ok(evidence)
}

/// The cgroup of the program, and the one that the maker of its cgroup namespace was in.
fn made_in(evidence: &mut Evidence, trace: &Trace, container: &Container) {
    let Some(exec) = trace.exec_of(container.outer_pid(), &container.program) else { return };
    let name = &container.name;
    let source = format!("{}: exec of {}", exec.event.source, container.program);
    evidence.kernel(&format!("executed_in.{name}"), exec.task.cgroup_id, source);
    let Some(namespace) = exec.task.ns.cgroup else { return };
    if let Some((event, cgroup)) = maker(trace, namespace) {
        let source =
            format!("{}: by {}, whose cgroup its birth and its moves tell", event.source, event.current.tid);
        evidence.kernel(&format!("made_in.{name}"), cgroup, source);
    }
}

/// The event that made this cgroup namespace, and the cgroup of who called it: its root from then on.
fn maker(trace: &Trace, namespace: u32) -> Option<(&Event, u64)> {
    // Of every thread its process and its cgroup.
    let mut cgroups: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
    for event in &trace.events {
        let made = match &event.kind {
            EventKind::NewTask { child, flags, .. } => {
                cgroups.insert(child.task.tid, (child.task.tgid, child.cgroup_id));
                flags & CLONE_NEWCGROUP != 0 && child.ns.cgroup == Some(namespace)
            }
            EventKind::CgroupAttach { id, hierarchy: 0, task, threadgroup, .. } => {
                for (tid, (tgid, cgroup)) in &mut cgroups {
                    if *tid == task.tid || (*threadgroup && *tgid == task.tgid) {
                        *cgroup = *id;
                    }
                }
                false
            }
            EventKind::Unshare { ret: 0, before, after, .. } => {
                before.cgroup != after.cgroup && after.cgroup == Some(namespace)
            }
            _ => false,
        };
        if made {
            return cgroups.get(&event.current.tid).map(|(_, cgroup)| (event, *cgroup));
        }
    }
    None
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(NAMES, |name| {
        let view = side.text(&format!("view.{name}"))?;
        let expected = format!("/proc/self/cgroup of {name} is `{ROOT}`");
        Ok(Finding::new(view == ROOT, expected, format!("/proc/self/cgroup of {name} is `{view}`")))
    })
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(NAMES, |name| {
        let (made, executed) = (format!("made_in.{name}"), format!("executed_in.{name}"));
        let own = facts::all_differ(side, "cgroup namespace", &["cgroup.node", &format!("cgroup.{name}")])?;
        Ok(own.and(facts::all_equal(side, "cgroup", &[&made, &executed])?))
    })
}
