//! `linux.sysctl`: only parameters that belong to a namespace of the container.
//!
//! Any other would change the node (sysctl/kernel.rst, namespaces(7)).

use std::collections::{BTreeMap, HashMap};

use super::{NamespaceSpec, NsKind, SpecError};

/// Parameters of the IPC namespace outside of `fs.mqueue`.
const IPC: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg_next_id",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_next_id",
    "kernel.shm_rmid_forced",
];

/// Checks names and that the namespace of each is the container's own.
///
/// # Errors
/// The parameter that is not one of a namespace, or whose namespace is the node's.
pub(super) fn read(
    map: Option<&HashMap<String, String>>,
    namespaces: &[NamespaceSpec],
) -> Result<BTreeMap<String, String>, SpecError> {
    let mut checked = BTreeMap::new();
    for (name, value) in map.into_iter().flatten() {
        let field = format!("linux.sysctl.{name}");
        // Both spellings are in use: net.ipv4.ip_forward and net/ipv4/ip_forward.
        let dotted = if name.contains('/') { name.replace('/', ".") } else { name.clone() };
        let Some(kind) = owner(&dotted).filter(|_| !dotted.split('.').any(str::is_empty)) else {
            return Err(SpecError::invalid(field, "is not a parameter of a namespace; set it on the node"));
        };
        if !namespaces.iter().any(|ns| ns.kind == kind) {
            return Err(SpecError::invalid(
                field,
                format!("needs a {kind} namespace in linux.namespaces; the container uses the node's"),
            ));
        }
        checked.insert(name.clone(), value.clone());
    }
    Ok(checked)
}

/// The kind of namespace that a parameter belongs to, by its name with dots; `None` for one of the node.
#[must_use]
pub fn owner(name: &str) -> Option<NsKind> {
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        Some(NsKind::Ipc)
    } else if name.starts_with("net.") {
        Some(NsKind::Network)
    } else if name == "kernel.domainname" {
        Some(NsKind::Uts)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, kinds: &[NsKind]) -> Result<BTreeMap<String, String>, SpecError> {
        let namespaces: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| NamespaceSpec { index, kind: *kind, path: None })
            .collect();
        read(Some(&HashMap::from([(name.to_owned(), "1".to_owned())])), &namespaces)
    }

    #[test]
    fn a_parameter_needs_its_namespace() {
        check("net.ipv4.ip_forward", &[NsKind::Network]).unwrap();
        check("net/ipv4/conf/eth0.1/forwarding", &[NsKind::Network]).unwrap();
        check("fs.mqueue.msg_max", &[NsKind::Ipc]).unwrap();
        assert!(check("net.ipv4.ip_forward", &[NsKind::Ipc]).is_err());
        assert!(check("kernel.shmmax", &[]).is_err());
    }

    #[test]
    fn parameters_of_the_node_are_refused() {
        for name in ["kernel.panic", "vm.swappiness", "net..x", "net.", "kernel.hostname"] {
            assert!(check(name, &NsKind::ALL).is_err(), "{name}");
        }
    }
}
