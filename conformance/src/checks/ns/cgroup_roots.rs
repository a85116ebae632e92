//! Where cgroup namespaces begin: in the cgroup that their maker was in (cgroup_namespaces(7)).

use std::collections::BTreeMap;

use podproof_ebpf::event::{Event, EventKind};

use crate::cell::Container;
use crate::checks::facts;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::Finding;
use crate::observe::trace::Trace;

/// What /proc/self/cgroup says in the root of a cgroup namespace (cgroup_namespaces(7)).
const ROOT: &str = "0::/";
/// `CLONE_NEWCGROUP` (clone(2)).
const CLONE_NEWCGROUP: u64 = 0x0200_0000;

/// What the witness of a container was told of its cgroup at its birth.
pub(super) fn view(evidence: &mut Evidence, container: &Container) {
    let view = container.link.as_ref().and_then(|link| link.hello.birth.cgroup.as_deref());
    if let Some(view) = view {
        let source = format!("witness {}: /proc/self/cgroup", container.name);
        evidence.inside(&format!("view.{}", container.name), view.trim_end(), source);
    }
}

/// The finding of that: it is in the root of its namespace.
pub(super) fn is_root(side: &Side<'_>, name: &str) -> Result<Finding, Gap> {
    let view = side.text(&format!("view.{name}"))?;
    let expected = format!("/proc/self/cgroup of {name} is `{ROOT}`");
    Ok(Finding::new(view == ROOT, expected, format!("/proc/self/cgroup of {name} is `{view}`")))
}

/// The cgroup of the program, and the one that the maker of its cgroup namespace was in.
pub(super) fn made_in(evidence: &mut Evidence, trace: &Trace, container: &Container) {
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

/// Keeps the lines of the trace that tell of cgroups and of namespaces.
pub(super) fn keep_trace(evidence: &mut Evidence, trace: &Trace) {
    facts::keep_trace(evidence, trace, |kind| {
        matches!(
            kind,
            EventKind::CgroupMkdir { .. }
                | EventKind::CgroupAttach { .. }
                | EventKind::Unshare { .. }
                | EventKind::Setns { .. }
                | EventKind::Exec { .. }
        )
    });
}
