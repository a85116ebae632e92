//! Containers of one PID namespace that run as different users.

use serde_json::json;

use crate::bundle::Bundle;
use crate::cell::{Cell, Container, Obstacle, joining};
use crate::evidence::Evidence;
use crate::observe::trace::Trace;

/// A container by its user.
#[derive(Debug, Clone, Copy)]
pub(super) struct User {
    /// Name of the container.
    pub(super) name: &'static str,
    /// User and group.
    pub(super) id: u32,
    /// The only capabilities that it is given.
    pub(super) capabilities: &'static [&'static str],
}

impl User {
    /// Starts its witness in the namespaces of a sandbox, the PID namespace included.
    pub(super) fn start(&self, cell: &mut Cell<'_>, sandbox: &Container) -> Result<Container, Obstacle> {
        let capabilities = json!(self.capabilities);
        let bundle =
            Bundle::witness(self.name).with("/process/user", json!({ "uid": self.id, "gid": self.id })).with(
                "/process/capabilities",
                json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities }),
            );
        cell.container(&joining(bundle, sandbox.pid, true))
    }
}

/// Adds as which user, and with which effective capability or without it, the kernel executed the container's program.
pub(super) fn credentials(evidence: &mut Evidence, trace: &Trace, container: &Container, capability: u8) {
    if let Some(exec) = trace.exec_of(container.outer_pid(), &container.program) {
        let source = format!("{}: credentials of {}", exec.event.source, exec.filename);
        let name = &container.name;
        evidence.kernel(&format!("uid.{name}"), exec.creds.uid, source.clone());
        evidence.kernel(&format!("capable.{name}"), exec.creds.cap_effective >> capability & 1 == 1, source);
    }
}
