//! The eight types of namespaces, and containers that differ from the usual one in some of them.

use podproof_ebpf::event::NsKind;

use super::times;
use crate::adapter::oci::Caller;
use crate::bundle::{Bundle, NsSource};
use crate::cell::{Cell, Container, Obstacle};

/// The types by their OCI names, with their names below `/proc/PID/ns`.
pub(super) const TYPES: [(&str, NsKind); 8] = [
    ("mount", NsKind::Mnt),
    ("network", NsKind::Net),
    ("ipc", NsKind::Ipc),
    ("uts", NsKind::Uts),
    ("pid", NsKind::Pid),
    ("cgroup", NsKind::Cgroup),
    ("user", NsKind::User),
    ("time", NsKind::Time),
];
/// Types that a runtime may refuse with an error, which skips the check.
pub(super) const REFUSABLE: [&str; 2] = ["user", "time"];

/// The kind of a type.
pub(super) fn kind_of(listed: &str) -> Option<NsKind> {
    TYPES.iter().find(|(oci, _)| *oci == listed).map(|(_, kind)| *kind)
}

/// A running container with these types from these sources; the reason where the runtime refuses to make it.
pub(super) fn container(
    cell: &mut Cell<'_>,
    name: &str,
    types: &[(&'static str, NsSource)],
) -> Result<Result<Container, String>, Obstacle> {
    let lists = |wanted: &str| types.iter().any(|(listed, _)| *listed == wanted);
    let mut bundle = Bundle::witness(name);
    for (kind, source) in types {
        bundle = bundle.namespace(kind, source.clone());
    }
    if lists("user") {
        let identity = serde_json::json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
        bundle = bundle.with("/linux/uidMappings", identity.clone()).with("/linux/gidMappings", identity);
    }
    if lists("time") && cell.run.runtime.declares_before(times::SINCE) {
        let declared = cell.run.runtime.spec.as_deref().unwrap_or("an older version");
        return Ok(Err(format!("newer than runtime-spec {declared}, which the runtime declares")));
    }
    let (mut container, call) = cell.try_create(&bundle, &Caller::default())?;
    match call.code {
        Some(0) => {}
        Some(_) => return Ok(Err(format!("create {}", call.end()))),
        None => return Err(Obstacle::Runtime(call.summary())),
    }
    cell.start(&container)?;
    cell.greet(&mut container)?;
    Ok(Ok(container))
}
