//! `podrt features` (the specification's features document).

use serde_json::json;

use super::state::print_json;
use crate::spec::{HookKind, NsKind, capabilities, config, options, seccomp};

/// Prints what podrt knows, whatever this kernel can do. Each list is that of the code which acts on it.
///
/// # Errors
/// What writing gives.
pub fn features() -> anyhow::Result<()> {
    print_json(&document())
}

fn document() -> serde_json::Value {
    let off = json!({"enabled": false});
    let flags = seccomp::FLAGS.map(|(flag, _)| flag);
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": config::OCI_VERSION,
        "hooks": HookKind::ALL.map(HookKind::oci_name),
        "mountOptions": options::words(),
        "linux": {
            "namespaces": NsKind::ALL.map(NsKind::oci_name),
            "capabilities": capabilities::names(),
            "cgroup": {"v1": false, "v2": true, "systemd": false, "systemdUser": false, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": seccomp::ACTIONS,
                "operators": seccomp::OPERATORS,
                "archs": seccomp::ARCHITECTURES.map(|(arch, _)| arch),
                "knownFlags": flags,
                // All are of Linux 5.19 or before, where podrt needs 6.1.
                "supportedFlags": flags,
            },
            "apparmor": {"enabled": true},
            "selinux": off,
            "intelRdt": off,
            "mountExtensions": {"idmap": {"enabled": true}},
        },
        "annotations": {"org.podproof.podrt.version": env!("CARGO_PKG_VERSION")},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_one_of_the_specification() {
        let features: oci_spec::runtime::Features = serde_json::from_value(document()).unwrap();
        assert_eq!(features.hooks().as_ref().unwrap().len(), 6);
        let linux = features.linux().as_ref().unwrap();
        assert_eq!(linux.capabilities().as_ref().unwrap().len(), 41);
        assert_eq!(linux.seccomp().as_ref().unwrap().actions().as_ref().unwrap().len(), 9);
    }
}
