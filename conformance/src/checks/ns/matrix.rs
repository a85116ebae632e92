//! The namespaces of several kinds that the containers of a pod are in.

use podproof_ebpf::event::{EventKind, NsKind};

use crate::cell::{Container, Pod};
use crate::checks::facts;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::Finding;
use crate::observe::trace::Trace;

/// The node's own namespaces, on both sides.
pub(super) fn node(evidence: &mut Evidence, kinds: &[NsKind]) {
    for kind in kinds {
        facts::node_ns(evidence, "node", std::process::id().cast_signed(), kind.proc_name());
        facts::kernel_node_ns(evidence, kind.proc_name());
    }
}

/// Those of a pod: of the sandbox, which has no witness, by plain reads on the node.
pub(super) fn pod(evidence: &mut Evidence, trace: &Trace, pod: &Pod, kinds: &[NsKind]) {
    for kind in kinds {
        facts::node_ns(evidence, &pod.sandbox.name, pod.sandbox.pid, kind.proc_name());
        facts::kernel_ns(evidence, trace, &pod.sandbox, *kind);
    }
    for member in &pod.members {
        container(evidence, trace, member, kinds);
    }
}

/// Those of a container with a witness.
pub(super) fn container(evidence: &mut Evidence, trace: &Trace, container: &Container, kinds: &[NsKind]) {
    for kind in kinds {
        facts::inside_ns(evidence, container, kind.proc_name());
        facts::kernel_ns(evidence, trace, container, *kind);
    }
}

/// Keeps the lines of the trace that tell of namespaces.
pub(super) fn keep_trace(evidence: &mut Evidence, trace: &Trace) {
    facts::keep_trace(evidence, trace, |kind| {
        matches!(kind, EventKind::Setns { .. } | EventKind::Unshare { .. } | EventKind::Exec { .. })
    });
}

/// A finding for each of these, all together.
pub(super) fn each<T>(
    of: impl IntoIterator<Item = T>,
    finding: impl Fn(T) -> Result<Finding, Gap>,
) -> Result<Finding, Gap> {
    of.into_iter().try_fold(Finding::new(true, "", ""), |found, one| Ok(found.and(finding(one)?)))
}

/// The containers with these names are in one namespace of this kind.
pub(super) fn shared(side: &Side<'_>, kind: NsKind, names: &[&str]) -> Result<Finding, Gap> {
    let keys: Vec<String> = names.iter().map(|name| format!("{kind}.{name}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    facts::all_equal(side, &format!("{kind} namespace"), &keys)
}
