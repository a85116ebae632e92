//! The scenario of several checks: which namespace of one kind each process of a pod is in.

use podproof_ebpf::event::NsKind;

use crate::cell::{Cell, Obstacle};
use crate::checks::facts;
use crate::evidence::Evidence;

/// A pod with the containers a and b: the namespaces of one kind of the node, of pause, of a and of b.
pub(super) fn observe(cell: &mut Cell<'_>, kind: NsKind, share_pid: bool) -> Result<Evidence, Obstacle> {
    let pod = cell.pod(share_pid, &["a", "b"])?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    let name = kind.proc_name();
    facts::node_ns(&mut evidence, "node", std::process::id().cast_signed(), name);
    facts::node_ns(&mut evidence, "pause", pod.sandbox.pid, name);
    facts::kernel_node_ns(&mut evidence, name);
    facts::kernel_ns(&mut evidence, &trace, &pod.sandbox, kind);
    for member in &pod.members {
        facts::inside_ns(&mut evidence, member, name);
        facts::kernel_ns(&mut evidence, &trace, member, kind);
    }
    facts::keep_entries(&mut evidence, &trace);
    Ok(evidence)
}
