//! Looks for System V shared memory, as the kernel showed them (shmget(2)).

use podproof_ebpf::event::EventKind;

use crate::evidence::Evidence;
use crate::observe::trace::{Trace, is};

/// The first shmget of the key by a process: where it looked (`ipc.NAME`) and what it got (`shmget.NAME`).
pub(super) fn lookup(evidence: &mut Evidence, trace: &Trace, name: &str, pid: i32, key: i32) {
    let found = trace.events.iter().find_map(|event| match &event.kind {
        EventKind::Shmget { key: asked, ret, ipc_ns, .. } if *asked == key && is(event.current, pid) => {
            Some((event, *ret, *ipc_ns))
        }
        _ => None,
    });
    let Some((event, ret, ipc_ns)) = found else { return };
    let source = format!("{}: shmget(2) by {pid}", event.source);
    evidence.kernel_if(&format!("ipc.{name}"), ipc_ns, source.clone());
    evidence.kernel(&format!("shmget.{name}"), ret, source);
}
